//! The ports between the host's loopback and a container's network namespace: from the host inward to ssh and
//! forwarded ports, and from the node outward to what is served to it under [`HOST_NAME`].
//!
//! A connection is carried byte by byte; there is no other way between the two networks.
//!
//! [`HOST_NAME`]: crate::cluster::HOST_NAME

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};

use crate::cluster::BackendKind;

/// Connections that may wait to be taken.
const BACKLOG: i32 = 128;

/// The namespace of the current boot.
pub type Shared = Arc<Mutex<Option<Arc<OwnedFd>>>>;

/// Carries connections to a port of the host into the node's namespace, forever.
pub fn inward(listener: &TcpListener, target: (Ipv4Addr, u16), namespace: &Shared) {
    while let Ok((outside, _)) = listener.accept() {
        let current = namespace.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(descriptor) = current else { continue };
        std::thread::spawn(move || match within(&descriptor, || TcpStream::connect(target)) {
            Ok(inside) => join(&outside, &inside),
            Err(error) => eprintln!("forward to port {}: {error}", target.1),
        });
    }
}

/// Open doors; they close when this is dropped.
#[derive(Debug)]
pub struct Outward {
    _alive: Vec<UnixStream>,
}

/// Carries connections of the node to its name for the host on to `ports` of the host's loopback.
pub fn outward(namespace: &Arc<OwnedFd>, ports: &[u16]) -> io::Result<Outward> {
    let mut alive = Vec::new();
    for port in ports {
        let descriptor = Arc::clone(namespace);
        let address = SocketAddrV4::new(BackendKind::Nspawn.host_address(), *port);
        let entered = std::thread::spawn(move || within(&descriptor, || listen_early(address)));
        let listener = entered.join().map_err(|_| io::Error::other("the listening thread panicked"))??;
        let (ours, watched) = UnixStream::pair()?;
        alive.push(ours);
        let target = (Ipv4Addr::LOCALHOST, *port);
        std::thread::spawn(move || {
            while let Some(inside) = accept(&listener, &watched) {
                std::thread::spawn(move || match TcpStream::connect(target) {
                    Ok(outside) => join(&inside, &outside),
                    Err(error) => eprintln!("the host's port {}: {error}", target.1),
                });
            }
        });
    }
    Ok(Outward { _alive: alive })
}

/// A listener on an address that is not there yet: the node brings its loopback up when it boots.
fn listen_early(address: SocketAddrV4) -> io::Result<TcpListener> {
    let made = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&made, sockopt::IpFreebind, &true)?;
    bind(made.as_raw_fd(), &SockaddrIn::from(address))?;
    listen(&made, Backlog::new(BACKLOG)?)?;
    // SAFETY: the descriptor is a listening TCP socket that nobody else owns any more.
    Ok(unsafe { TcpListener::from_raw_fd(made.into_raw_fd()) })
}

/// The next connection, or nothing once the other end of `watched` is closed.
fn accept(listener: &TcpListener, watched: &UnixStream) -> Option<TcpStream> {
    loop {
        let mut wait = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(watched.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut wait, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return None,
            Ok(_) if wait[1].any() == Some(true) => return None,
            Ok(_) => {}
        }
        if let Ok((stream, _)) = listener.accept() {
            return Some(stream);
        }
    }
}

/// Does `work` in the namespace. Only for threads that end soon: they stay in it, and so does what they make.
fn within<T>(namespace: &OwnedFd, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
    work()
}

/// Copies both ways until both ends are closed.
fn join(one: &TcpStream, other: &TcpStream) {
    std::thread::scope(|scope| {
        for (mut from, mut to) in [(one, other), (other, one)] {
            scope.spawn(move || {
                // Either side may vanish at any time; then the other is told so.
                drop(io::copy(&mut from, &mut to));
                drop(to.shutdown(std::net::Shutdown::Write));
            });
        }
    });
}
