//! The sockets that systemd hands over: the API is served on each of them, and nowhere else.

use std::net::TcpListener;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use anyhow::Context as _;
use fleet_http::Listener;
use rustix::net::AddressFamily;

/// Kept open for as long as the process lives: a reload serves on copies.
pub struct Listeners(Vec<OwnedFd>);

impl Listeners {
    pub fn inherited() -> anyhow::Result<Self> {
        let numbers = sd_notify::listen_fds().context("the sockets that systemd hands over")?;
        let copies = numbers.map(|number| {
            // SAFETY: systemd opened these for this process, and nobody closes them.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            rustix::io::fcntl_dupfd_cloexec(fd, 3).with_context(|| format!("file descriptor {number}"))
        });
        Ok(Self(copies.collect::<anyhow::Result<_>>()?))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn copies(&self) -> anyhow::Result<Vec<Listener>> {
        let of = |fd: &OwnedFd| -> anyhow::Result<Listener> {
            let copy = fd.try_clone()?;
            match rustix::net::getsockname(&copy)?.address_family() {
                AddressFamily::UNIX => Ok(UnixListener::from(copy).into()),
                AddressFamily::INET | AddressFamily::INET6 => Ok(TcpListener::from(copy).into()),
                other => anyhow::bail!("the API is served on unix and TCP sockets, not on {other:?}"),
            }
        };
        self.0.iter().map(|fd| of(fd).context("Failed serving HTTP on listener")).collect()
    }
}
