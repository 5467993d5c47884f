//! The sockets that systemd passes (socket activation), on which the API is served.

use std::net::TcpListener;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use anyhow::Context as _;
use fleet_http::Listener;
use rustix::net::AddressFamily;

/// Kept open until the process exits. Each node serves on duplicates.
pub struct Listeners(Vec<OwnedFd>);

impl Listeners {
    pub fn inherited() -> anyhow::Result<Self> {
        let fds = sd_notify::listen_fds().context("the sockets that systemd hands over")?;
        let copies = fds.map(|raw_fd| {
            // SAFETY: systemd opened these descriptors for this process, which never closes them.
            let fd = unsafe { BorrowedFd::borrow_raw(raw_fd) };
            rustix::io::fcntl_dupfd_cloexec(fd, 3).with_context(|| format!("file descriptor {raw_fd}"))
        });
        Ok(Self(copies.collect::<anyhow::Result<_>>()?))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn copies(&self) -> anyhow::Result<Vec<Listener>> {
        let listener = |fd: &OwnedFd| -> anyhow::Result<Listener> {
            let copy = fd.try_clone()?;
            match rustix::net::getsockname(&copy)?.address_family() {
                AddressFamily::UNIX => Ok(UnixListener::from(copy).into()),
                AddressFamily::INET | AddressFamily::INET6 => Ok(TcpListener::from(copy).into()),
                other => anyhow::bail!("the API is served on unix and TCP sockets, not on {other:?}"),
            }
        };
        self.0.iter().map(|fd| listener(fd).context("Failed serving HTTP on listener")).collect()
    }
}
