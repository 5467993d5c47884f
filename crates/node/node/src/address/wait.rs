//! Waits for a state of the network, woken by rtnetlink messages.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV4_ROUTE` of rtnetlink(7).
const GROUPS: u32 = 0x1 | 0x10 | 0x40;
const MAX_MESSAGE_BYTES: usize = 32 * 1024;

/// Returns the first result of `probe`, or `None` after `limit`.
pub fn wait_for<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> io::Result<Option<T>> {
    let deadline = Instant::now() + limit;
    // Opened before the first probe, so that no change is missed.
    let changes = open()?;
    loop {
        if let Some(found) = probe() {
            return Ok(Some(found));
        }
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Ok(None);
        }
        // Rounded up, so that the last wait does not end before the deadline.
        let timeout = PollTimeout::try_from(remaining + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(changes.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(Errno::EINTR) => drain(&changes)?,
            Err(error) => return Err(error.into()),
        }
    }
}

fn open() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let changes = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(changes.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
    Ok(changes)
}

/// Discards the messages: they only trigger the next probe.
fn drain(changes: &OwnedFd) -> io::Result<()> {
    let mut message = [0; MAX_MESSAGE_BYTES];
    loop {
        match recv(changes.as_raw_fd(), &mut message, MsgFlags::empty()) {
            Ok(_) | Err(Errno::EINTR) => {}
            // Some messages were lost; the next probe sees their effect.
            Err(Errno::ENOBUFS) => {}
            Err(Errno::EAGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_immediately_or_at_the_limit() {
        assert_eq!(wait_for(Duration::from_secs(60), || Some(1)).unwrap(), Some(1));
        let started = Instant::now();
        let limit = Duration::from_millis(50);
        assert_eq!(wait_for(limit, || None::<u8>).unwrap(), None);
        assert!(started.elapsed() >= limit);
    }
}
