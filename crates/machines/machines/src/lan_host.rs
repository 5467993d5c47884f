//! A host on a cluster's LAN that is no node: for servers that nodes find at an address of their network, such as a
//! cloud's metadata service.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::network::namespace;
use crate::nspawn::tap::{self, NAME, TapRelay};

nix::ioctl_write_ptr_bad!(set_address, libc::SIOCSIFADDR, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_netmask, libc::SIOCSIFNETMASK, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);

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
                add_address(number, *address, *prefix)?;
            }
            Ok(())
        })?;
        Ok(Self { namespace, _relay: tap::start_relay(tap, socket)? })
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

/// Adds an address to the interface under its own label, and brings the interface up.
#[allow(unsafe_code, reason = "ioctls on a structure of C")]
fn add_address(number: usize, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
    let mut label = NAME.to_vec();
    if number > 0 {
        label.extend(format!(":{number}").bytes());
    }
    let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let netmask = Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0));
    let request = |value: Ipv4Addr| {
        let mut request = namespace::interface_request(&label);
        // Family, port, address.
        let bytes = [&(libc::AF_INET as u16).to_ne_bytes()[..], &[0; 2], &value.octets()].concat();
        // SAFETY: the union's address is plain bytes, as many as a sockaddr, which is longer than these.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut request.ifr_ifru).cast(), bytes.len());
        }
        request
    };
    let (address, netmask) = (request(address), request(netmask));
    // SAFETY: each call reads one ifreq, which lives until it returns.
    unsafe {
        set_address(control.as_raw_fd(), &raw const address)?;
        set_netmask(control.as_raw_fd(), &raw const netmask)?;
        let mut up = namespace::interface_request(NAME);
        up.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP).map_err(io::Error::other)?;
        set_flags(control.as_raw_fd(), &raw const up)?;
    }
    Ok(())
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
