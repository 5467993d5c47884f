//! A host on a cluster's LAN that is no node: for servers that nodes find at an address of their network, such as a
//! cloud's metadata service.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;

use crate::network::namespace;
use crate::network::tap::{self, NAME, TapRelay};

/// A network namespace of this process with an interface on the LAN, until it is dropped.
#[derive(Debug)]
pub struct LanHost {
    namespace: OwnedFd,
    _relay: TapRelay,
}

impl LanHost {
    /// Connects to the port of the switch at `socket`, with addresses and their prefix lengths. Needs root.
    pub(crate) fn join(socket: PathBuf, mac: &str, addresses: &[(Ipv4Addr, u8)]) -> io::Result<Self> {
        let namespace = namespace::create()?;
        let tap: File = tap::create(&namespace, mac)?;
        namespace::run(&namespace, || {
            for (number, (address, prefix)) in addresses.iter().enumerate() {
                let label = if number == 0 { NAME.to_owned() } else { format!("{NAME}:{number}") };
                namespace::add_address(&label, *address, *prefix)?;
            }
            Ok(())
        })?;
        Ok(Self { namespace, _relay: tap::start_relay(tap, socket)? })
    }

    /// Has the program of `command` run on this host. Spawn it before this value is dropped.
    pub fn run_program(&self, command: &mut Command) {
        namespace::run_in(command, &self.namespace);
    }

    /// Listens on one of the host's addresses.
    ///
    /// # Errors
    /// The address is in use, or is none of the host's.
    pub fn listen(&self, address: impl Into<SocketAddr>) -> io::Result<TcpListener> {
        let address = address.into();
        namespace::run(&self.namespace, move || TcpListener::bind(address))
    }

    /// As [`Self::listen`], for datagrams.
    ///
    /// # Errors
    /// The address is in use, or is none of the host's.
    pub fn bind(&self, address: impl Into<SocketAddr>) -> io::Result<UdpSocket> {
        let address = address.into();
        namespace::run(&self.namespace, move || UdpSocket::bind(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};
    use std::os::unix::net::UnixListener;

    use crate::lan::{read_frame, write_frame};

    /// Two hosts at both ends of a cable.
    #[test]
    #[ignore = "wants root: cargo verify wants"]
    fn hosts_reach_each_other_at_every_address() {
        let folder = tempfile::tempdir().unwrap();
        let sockets = ["one", "two"].map(|name| folder.path().join(name));
        let listeners = sockets.clone().map(|socket| UnixListener::bind(socket).unwrap());
        let one_address = (Ipv4Addr::new(10, 77, 0, 1), 24);
        let link_local = Ipv4Addr::new(169, 254, 169, 254);
        let one = LanHost::join(sockets[0].clone(), "52:54:00:00:00:01", &[one_address, (link_local, 16)]);
        let two = LanHost::join(
            sockets[1].clone(),
            "52:54:00:00:00:02",
            &[(Ipv4Addr::new(10, 77, 0, 2), 24), (Ipv4Addr::new(169, 254, 0, 2), 16)],
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        let [a, b] = listeners.map(|listener| listener.accept().unwrap().0);
        for (from, to) in [(a.try_clone().unwrap(), b.try_clone().unwrap()), (b, a)] {
            std::thread::spawn(move || {
                let (mut from, mut to) = (from, &to);
                while let Ok(Some(frame)) = read_frame(&mut from) {
                    write_frame(&mut to, &frame).unwrap();
                }
            });
        }
        for address in [one_address.0, link_local] {
            let listener = one.listen((address, 80)).unwrap();
            let mut stream = namespace::run(&two.namespace, || TcpStream::connect((address, 80))).unwrap();
            listener.accept().unwrap().0.write_all(b"hello").unwrap();
            let mut read = String::new();
            stream.read_to_string(&mut read).unwrap();
            assert_eq!(read, "hello", "{address}");
        }
        assert!(one.bind((Ipv4Addr::new(192, 0, 2, 1), 53)).is_err(), "an address of nobody's");
        one.bind((link_local, 53)).unwrap();
    }
}
