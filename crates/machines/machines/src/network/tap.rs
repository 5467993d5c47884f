//! The interface of a network namespace on the LAN: a tap device that is connected to the cluster's switch. nspawn
//! nodes, QEMU nodes and programs of the host share one LAN.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::lan::{read_frame, write_frame};
use crate::limits;
use crate::network::namespace;

/// The interface name, for which the networkd of a node is configured.
pub const NAME: &str = "host0";
/// After these the end of the relay is looked for.
const FRAMES_TOGETHER: usize = 256;
/// Pause before reconnecting to the switch, like QEMU's reconnect-ms.
const RECONNECT_MILLIS: u16 = 200;

nix::ioctl_write_int!(tun_set_iff, b'T', 202);
nix::ioctl_write_ptr_bad!(set_hardware_address, libc::SIOCSIFHWADDR, libc::ifreq);

/// Creates the interface in a network namespace. It exists while the returned file is open.
pub fn create(network: &OwnedFd, mac: &str) -> io::Result<File> {
    let mac = parse(mac)?;
    namespace::run(network, || create_here(mac))
}

#[allow(unsafe_code, reason = "ioctls on structures of C")]
fn create_here(mac: [u8; 6]) -> io::Result<File> {
    let tap = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let mut request = namespace::interface_request(NAME.as_bytes());
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_TAP | libc::IFF_NO_PI).map_err(io::Error::other)?;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives until the call returns.
    unsafe { tun_set_iff(tap.as_raw_fd(), std::ptr::from_mut(&mut request) as libc::c_ulong)? };
    // SAFETY: all zeroes are a valid sockaddr.
    let mut hardware: libc::sockaddr = unsafe { std::mem::zeroed() };
    hardware.sa_family = libc::ARPHRD_ETHER;
    for (target, byte) in hardware.sa_data.iter_mut().zip(mac) {
        *target = byte.cast_signed();
    }
    request.ifr_ifru.ifru_hwaddr = hardware;
    let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: SIOCSIFHWADDR reads one ifreq, which lives until the call returns.
    unsafe { set_hardware_address(control.as_raw_fd(), &raw const request)? };
    Ok(tap)
}

fn parse(mac: &str) -> io::Result<[u8; 6]> {
    let bytes: Vec<u8> = mac
        .split(':')
        .map(|part| u8::from_str_radix(part, 16))
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    bytes.try_into().map_err(|_| io::Error::other(format!("invalid hardware address {mac}")))
}

/// Relays frames between a tap and the switch until it is dropped.
#[derive(Debug)]
pub struct TapRelay {
    /// Closing it wakes the relay thread, which then exits and removes the interface.
    _alive: UnixStream,
}

pub fn start_relay(tap: File, socket: PathBuf) -> io::Result<TapRelay> {
    let (alive, watched) = UnixStream::pair()?;
    std::thread::spawn(move || {
        loop {
            let exchanged = UnixStream::connect(&socket).and_then(|stream| exchange(&tap, &stream, &watched));
            if let Err(error) = exchanged {
                eprintln!("lan: {error}");
            }
            if ended(&watched, RECONNECT_MILLIS) {
                return;
            }
        }
    });
    Ok(TapRelay { _alive: alive })
}

/// Whether the relay was dropped; waits at most `millis`.
fn ended(watched: &UnixStream, millis: u16) -> bool {
    let mut wait = [PollFd::new(watched.as_fd(), PollFlags::POLLIN)];
    !matches!(poll(&mut wait, PollTimeout::from(millis)), Ok(0) | Err(nix::errno::Errno::EINTR))
}

fn exchange(tap: &File, stream: &UnixStream, watched: &UnixStream) -> io::Result<()> {
    std::thread::scope(|scope| {
        let tap_to_switch = scope.spawn(|| {
            let done = tap_to_switch(tap, stream, watched);
            stream.shutdown(std::net::Shutdown::Both)?;
            done
        });
        let switch_to_tap = switch_to_tap(tap, stream);
        stream.shutdown(std::net::Shutdown::Both)?;
        let tap_to_switch =
            tap_to_switch.join().map_err(|_| io::Error::other("the outward thread panicked"))?;
        switch_to_tap.and(tap_to_switch)
    })
}

fn tap_to_switch(tap: &File, stream: &UnixStream, watched: &UnixStream) -> io::Result<()> {
    let mut buffer = vec![0; limits::FRAME_MAX];
    let mut writer = BufWriter::with_capacity(limits::FRAME_MAX, stream);
    loop {
        let mut wait = [
            PollFd::new(tap.as_fd(), PollFlags::POLLIN),
            PollFd::new(stream.as_fd(), PollFlags::empty()),
            PollFd::new(watched.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut wait, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other?,
        };
        if wait[1].any() == Some(true) || wait[2].any() == Some(true) {
            return Ok(());
        }
        // Frames that wait are written together.
        for _ in 0..FRAMES_TOGETHER {
            match (&*tap).read(&mut buffer) {
                Ok(count) => write_frame(&mut writer, &buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        writer.flush()?;
    }
}

fn switch_to_tap(tap: &File, stream: &UnixStream) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(limits::FRAME_MAX, stream);
    while let Some(frame) = read_frame(&mut reader)? {
        match (&*tap).write_all(&frame) {
            // EIO: the interface is down; the node has not configured it yet.
            Err(error) if error.raw_os_error() != Some(libc::EIO) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_parsed() {
        assert_eq!(parse("52:54:00:0a:ff:01").unwrap(), [0x52, 0x54, 0, 0x0a, 0xff, 1]);
        for bad in ["", "52:54:00:0a:ff", "52:54:00:0a:ff:01:02", "52:54:00:0a:ff:zz"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
