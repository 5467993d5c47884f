//! Port forwarding between the host's loopback and a node's network namespace: from the host to ssh and the forwarded
//! ports, and from the node to the host's services at [`HOST_NAME`].
//!
//! Connections are relayed in user space; the two networks have no route between them.
//!
//! [`HOST_NAME`]: crate::cluster::HOST_NAME

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};

use super::namespace;

const BACKLOG: i32 = 128;

/// The network namespace of the current boot.
pub type CurrentNamespace = Arc<Mutex<Option<Arc<OwnedFd>>>>;

/// Forwards connections to a host port into the node's namespace; never returns while the listener is open.
pub fn forward_to_node(listener: &TcpListener, target: (Ipv4Addr, u16), namespace: &CurrentNamespace) {
    while let Ok((outside, _)) = listener.accept() {
        let current = namespace.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(descriptor) = current else { continue };
        std::thread::spawn(move || match namespace::run(&descriptor, || TcpStream::connect(target)) {
            Ok(inside) => relay(&outside, &inside),
            Err(error) => eprintln!("cannot forward to port {}: {error}", target.1),
        });
    }
}

/// Open forwards; they close on drop.
#[derive(Debug)]
pub struct HostForwards {
    _alive: Vec<UnixStream>,
}

/// Forwards connections that are made to `address` in the namespace to the same `ports` of the host's loopback.
pub fn forward_to_host(namespace: &OwnedFd, address: Ipv4Addr, ports: &[u16]) -> io::Result<HostForwards> {
    let mut alive = Vec::new();
    for port in ports {
        let address = SocketAddrV4::new(address, *port);
        let listener = namespace::run(namespace, || listen_freebind(address))?;
        let (ours, watched) = UnixStream::pair()?;
        alive.push(ours);
        let target = (Ipv4Addr::LOCALHOST, *port);
        std::thread::spawn(move || {
            while let Some(inside) = accept(&listener, &watched) {
                std::thread::spawn(move || match TcpStream::connect(target) {
                    Ok(outside) => relay(&inside, &outside),
                    Err(error) => eprintln!("cannot connect to host port {}: {error}", target.1),
                });
            }
        });
    }
    Ok(HostForwards { _alive: alive })
}

/// Listens on an address that does not exist yet: the node brings its loopback up later (`IP_FREEBIND`).
#[allow(unsafe_code, reason = "nix returns a descriptor, std takes a raw one")]
fn listen_freebind(address: SocketAddrV4) -> io::Result<TcpListener> {
    let made = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&made, sockopt::IpFreebind, &true)?;
    bind(made.as_raw_fd(), &SockaddrIn::from(address))?;
    listen(&made, Backlog::new(BACKLOG)?)?;
    // SAFETY: the descriptor is a listening TCP socket with no other owner.
    Ok(unsafe { TcpListener::from_raw_fd(made.into_raw_fd()) })
}

/// The next connection; `None` once the other end of `watched` is closed.
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

/// Copies in both directions until both ends are closed.
fn relay(one: &TcpStream, other: &TcpStream) {
    std::thread::scope(|scope| {
        for (mut from, mut to) in [(one, other), (other, one)] {
            scope.spawn(move || {
                // If either side closes, the other one gets an end of file.
                drop(io::copy(&mut from, &mut to));
                drop(to.shutdown(std::net::Shutdown::Write));
            });
        }
    });
}
