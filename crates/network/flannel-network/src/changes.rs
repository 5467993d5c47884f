//! Notifications of the kernel that a table has changed.

use std::{
    future::poll_fn,
    io,
    task::{Poll, ready},
};

use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use nix::libc;

use crate::{entries::MAIN_TABLE, limits::MAX_NOTIFICATION, network::Network};

/// What changed since the last notification. The kernel's tables have to be observed to know more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// A device was created, changed or deleted.
    pub links: bool,
    /// An IPv4 address of an interface.
    pub addresses: bool,
    /// An IPv4 route in table main.
    pub routes: bool,
    /// A neighbor or forwarding entry of the watched device.
    pub neighbors: bool,
}

/// Changes of the kernel's tables, by anyone: also by this process.
///
/// Unread notifications are in the socket's buffer, whose size is limited. If it overflows, everything counts as
/// changed.
pub struct Changes {
    socket: TokioSocket,
    buffer: Vec<u8>,
}

/// Changes cannot be watched.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ChangesError {
    #[error("cannot open a netlink socket for changes of links, addresses, routes and neighbors")]
    Open(#[source] io::Error),
    #[error("cannot read changes from the netlink socket")]
    Read(#[source] io::Error),
}

/// Header of a message: its length, type, flags, sequence number and port.
const HEADER: usize = 16;

impl Network {
    /// Watches the tables of the network namespace of the calling thread, from now on.
    pub fn changes(&self) -> Result<Changes, ChangesError> {
        let open = || {
            let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
            let groups =
                libc::RTMGRP_LINK | libc::RTMGRP_NEIGH | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV4_ROUTE;
            socket.socket_mut().bind(&SocketAddr::new(0, groups.cast_unsigned()))?;
            Ok(Changes { socket, buffer: Vec::with_capacity(MAX_NOTIFICATION) })
        };
        open().map_err(ChangesError::Open)
    }
}

impl Changes {
    /// Waits for a change, and returns it with all others that have happened until then. Neighbors count if they are
    /// those of `device`: others change with ordinary traffic. A cancelled call loses nothing. To miss nothing, observe
    /// the tables after `changes` and after each return.
    pub async fn next(&mut self, device: Option<u32>) -> Result<Changed, ChangesError> {
        let mut changed = Changed::default();
        poll_fn(|context| {
            loop {
                self.buffer.clear();
                let received = self.socket.poll_recv_from(context, &mut self.buffer);
                match received {
                    Poll::Pending if changed != Changed::default() => return Poll::Ready(Ok(changed)),
                    _ => (),
                }
                match ready!(received) {
                    Ok(sender) if sender.port_number() == 0 => changed.add(&self.buffer, device),
                    // From another process: anyone may send to the socket.
                    Ok(_) => (),
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = Changed::all(),
                    Err(error) => return Poll::Ready(Err(ChangesError::Read(error))),
                }
                // More would change nothing: the buffer may fill as fast as it is read.
                if changed == Changed::all() {
                    return Poll::Ready(Ok(changed));
                }
            }
        })
        .await
    }
}

impl Changed {
    const fn all() -> Changed {
        Changed { links: true, addresses: true, routes: true, neighbors: true }
    }

    fn add(&mut self, mut datagram: &[u8], device: Option<u32>) {
        while let Some((length, message)) = datagram.first_chunk::<4>().zip(Some(datagram)) {
            let length = usize::try_from(u32::from_ne_bytes(*length)).unwrap_or(usize::MAX);
            let (Some(kind), Some(body)) = (message.get(4..6), message.get(HEADER..length)) else { return };
            self.add_message(u16::from_ne_bytes([kind[0], kind[1]]), body, device);
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }

    fn add_message(&mut self, kind: u16, body: &[u8], device: Option<u32>) {
        // `ndmsg`: family, three bytes of padding, index of the interface.
        let index = body.get(4..8).and_then(|index| Some(u32::from_ne_bytes(index.try_into().ok()?)));
        match kind {
            libc::RTM_NEWLINK | libc::RTM_DELLINK => self.links = true,
            libc::RTM_NEWADDR | libc::RTM_DELADDR => self.addresses = true,
            // `rtmsg`: family, lengths of both prefixes, type of service, table.
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => self.routes |= body.get(4) == Some(&MAIN_TABLE),
            libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => self.neighbors |= device.is_some() && index == device,
            _ => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut message = vec![0; HEADER];
        message[0] = u8::try_from(HEADER + body.len()).unwrap();
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message.extend(body);
        message
    }

    fn check(datagram: &[u8], expected: Changed) {
        let mut changed = Changed::default();
        changed.add(datagram, Some(7));
        assert_eq!(changed, expected);
    }

    #[test]
    fn notifications() {
        let none = Changed::default();
        let neighbor =
            |index: u32| message(libc::RTM_NEWNEIGH, &[[2, 0, 0, 0], index.to_ne_bytes()].concat());
        check(&neighbor(7), Changed { neighbors: true, ..none });
        check(&neighbor(8), none);
        let route = |table| message(libc::RTM_DELROUTE, &[2, 24, 0, 0, table, 0, 0, 0]);
        check(&route(MAIN_TABLE), Changed { routes: true, ..none });
        check(&route(255), none);
        let both = [message(libc::RTM_NEWLINK, &[0; 16]), message(libc::RTM_NEWADDR, &[0; 8])].concat();
        check(&both, Changed { links: true, addresses: true, ..none });
    }

    #[test]
    fn cut_messages_are_ignored() {
        let whole = message(libc::RTM_NEWNEIGH, &[2, 0, 0, 0, 7, 0, 0, 0]);
        for length in 0..whole.len() {
            check(&whole[..length], Changed::default());
        }
        check(&[0; 64], Changed::default());
    }
}
