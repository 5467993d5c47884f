//! The LAN interface of an nspawn node: a tap device in the node's network namespace, whose frames go to
//! and come from the cluster's switch. With it nspawn and QEMU nodes hang on the same LAN.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::lan::{read_frame, write_frame};
use crate::limits;

/// Name by which the node's networkd knows a container's interface.
const NAME: &[u8] = b"host0";
/// Pause before the switch is called (again), as QEMU's reconnect-ms.
const RECONNECT_MILLIS: u16 = 200;

nix::ioctl_write_int!(tun_set_iff, b'T', 202);
nix::ioctl_write_ptr_bad!(set_hardware_address, libc::SIOCSIFHWADDR, libc::ifreq);

/// A network namespace with the node's interface in it. It lives as long as this value or a process in it.
#[derive(Debug)]
pub struct Namespace {
    pub descriptor: OwnedFd,
    pub tap: File,
}

/// Makes a new namespace in a thread of its own, so that the caller stays in its.
pub fn make(mac: &str) -> io::Result<Namespace> {
    let mac = parse(mac)?;
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        // The receiver waits for exactly one answer.
        drop(sender.send(make_here(mac)));
    });
    receiver.recv().map_err(io::Error::other)?
}

fn make_here(mac: [u8; 6]) -> io::Result<Namespace> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let descriptor = File::open("/proc/thread-self/ns/net")?.into();
    let tap = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: ifreq is a plain C structure for which all zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (target, byte) in request.ifr_name.iter_mut().zip(NAME) {
        *target = byte.cast_signed();
    }
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
    Ok(Namespace { descriptor, tap })
}

fn parse(mac: &str) -> io::Result<[u8; 6]> {
    let bytes: Vec<u8> = mac
        .split(':')
        .map(|part| u8::from_str_radix(part, 16))
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    bytes.try_into().map_err(|_| io::Error::other(format!("{mac} is no hardware address")))
}

/// Carries frames between a tap and the switch until it is dropped.
#[derive(Debug)]
pub struct Carrier {
    /// Closing it wakes and ends the carrying thread, which then lets go of the namespace.
    _alive: UnixStream,
}

pub fn carry(tap: &File, socket: PathBuf) -> io::Result<Carrier> {
    let (alive, watched) = UnixStream::pair()?;
    let tap = tap.try_clone()?;
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
    Ok(Carrier { _alive: alive })
}

/// Whether the carrier was dropped; waits for it at most `millis`.
fn ended(watched: &UnixStream, millis: u16) -> bool {
    let mut wait = [PollFd::new(watched.as_fd(), PollFlags::POLLIN)];
    !matches!(poll(&mut wait, PollTimeout::from(millis)), Ok(0) | Err(nix::errno::Errno::EINTR))
}

fn exchange(tap: &File, stream: &UnixStream, watched: &UnixStream) -> io::Result<()> {
    std::thread::scope(|scope| {
        let outward = scope.spawn(|| {
            let done = outward(tap, stream, watched);
            stream.shutdown(std::net::Shutdown::Both)?;
            done
        });
        let inward = inward(tap, stream);
        stream.shutdown(std::net::Shutdown::Both)?;
        let outward = outward.join().map_err(|_| io::Error::other("the outward thread panicked"))?;
        inward.and(outward)
    })
}

/// Frames of the node to the switch.
fn outward(tap: &File, mut stream: &UnixStream, watched: &UnixStream) -> io::Result<()> {
    let mut buffer = vec![0; limits::FRAME_MAX];
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
        let count = (&*tap).read(&mut buffer)?;
        write_frame(&mut stream, &buffer[..count])?;
    }
}

fn inward(tap: &File, stream: &UnixStream) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(limits::FRAME_MAX, stream);
    while let Some(frame) = read_frame(&mut reader)? {
        match (&*tap).write_all(&frame) {
            // EIO: the interface is down; its node has not configured it yet.
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
    fn hardware_addresses_are_read_or_refused() {
        assert_eq!(parse("52:54:00:0a:ff:01").unwrap(), [0x52, 0x54, 0, 0x0a, 0xff, 1]);
        for bad in ["", "52:54:00:0a:ff", "52:54:00:0a:ff:01:02", "52:54:00:0a:ff:zz"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
