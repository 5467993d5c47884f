//! Waits until the network is as hoped for; the kernel's own messages about it wake the wait.

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
const MESSAGE_MAX: usize = 32 * 1024;

/// The first thing that `look` finds, or `None` after `limit`.
pub fn wait<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> io::Result<Option<T>> {
    let deadline = Instant::now() + limit;
    // Opened before the first look: what changes in between is not missed.
    let changes = open()?;
    loop {
        if let Some(found) = look() {
            return Ok(Some(found));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        // Rounded up, so that the last wait does not end before the deadline.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
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

/// What the messages say does not matter: they are the sign to look again.
fn drain(changes: &OwnedFd) -> io::Result<()> {
    let mut message = [0; MESSAGE_MAX];
    loop {
        match recv(changes.as_raw_fd(), &mut message, MsgFlags::empty()) {
            Ok(_) | Err(Errno::EINTR) => {}
            // So many changes that some were lost: the next look sees them all.
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
    fn what_is_there_is_found_at_once_and_what_is_not_ends_at_the_limit() {
        assert_eq!(wait(Duration::from_secs(60), || Some(1)).unwrap(), Some(1));
        let started = Instant::now();
        let limit = Duration::from_millis(50);
        assert_eq!(wait(limit, || None::<u8>).unwrap(), None);
        assert!(started.elapsed() >= limit);
    }
}
