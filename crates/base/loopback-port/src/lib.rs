//! A TCP port of 127.0.0.1 for a server that is about to be started with its number.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

/// An address that a server may listen on, and that nobody else is given by chance.
///
/// A port that was found free and closed again can be handed out once more before the server has it. So a
/// connection is made to it and closed from the listener's side: its `TIME_WAIT` (60 s on Linux) keeps the
/// kernel from choosing the port for a listener on port 0 or for an outgoing connection, while a listener
/// that names the port and sets `SO_REUSEADDR` may take it. The standard library, tokio, Go, OpenSSH and
/// QEMU's `hostfwd` set it.
///
/// # Errors
///
/// What the kernel refuses: no free port is left, or no descriptor.
pub fn reserve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let client = TcpStream::connect(address)?;
    let (accepted, _) = listener.accept()?;
    // The side that closes first keeps TIME_WAIT.
    drop(accepted);
    drop(client);
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_reserved_port_is_given_to_nobody_else_and_can_be_listened_on() {
        let reserved: BTreeSet<SocketAddr> = (0..200).map(|_| reserve().unwrap()).collect();
        assert_eq!(reserved.len(), 200, "a port was reserved twice");
        // A fifth of the range that the kernel chooses from.
        for _ in 0..5000 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let given = listener.local_addr().unwrap();
            assert!(!reserved.contains(&given), "{given} was reserved, and the kernel gave it away");
        }
        for address in reserved {
            let listener = TcpListener::bind(address).unwrap();
            let client = TcpStream::connect(address).unwrap();
            listener.accept().unwrap();
            drop(client);
        }
    }
}
