//! A free TCP port of 127.0.0.1 for a server that is started later.

#![warn(missing_docs)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

/// Returns an address that a server can listen on and that the kernel does not assign to others.
///
/// A port that was merely found free can be assigned again before the server listens on it. Therefore a connection to
/// it is made and closed from the listener's side: its `TIME_WAIT` (60 s on Linux) keeps the kernel from choosing the
/// port for a listener on port 0 or for an outgoing connection, while a listener that names the port and sets
/// `SO_REUSEADDR` can bind it. The standard library, tokio, Go, OpenSSH and QEMU's `hostfwd` set it.
///
/// # Errors
///
/// If no port or no file descriptor is left.
pub fn reserve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let client = TcpStream::connect(address)?;
    let (accepted, _) = listener.accept()?;
    // The side that closes first enters TIME_WAIT.
    drop(accepted);
    drop(client);
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_reserved_port_is_not_assigned_and_can_be_bound() {
        let reserved: BTreeSet<SocketAddr> = (0..200).map(|_| reserve().unwrap()).collect();
        assert_eq!(reserved.len(), 200, "a port was reserved twice");
        // A fifth of the kernel's port range.
        for _ in 0..5000 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let assigned = listener.local_addr().unwrap();
            assert!(!reserved.contains(&assigned), "{assigned} was reserved, and the kernel gave it away");
        }
        for address in reserved {
            let listener = TcpListener::bind(address).unwrap();
            let client = TcpStream::connect(address).unwrap();
            listener.accept().unwrap();
            drop(client);
        }
    }
}
