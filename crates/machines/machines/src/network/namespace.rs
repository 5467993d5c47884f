//! Network namespaces that belong to the process that creates them.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::{getegid, geteuid};

nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_address, libc::SIOCSIFADDR, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_mask, libc::SIOCSIFNETMASK, libc::ifreq);

const LOOPBACK: &[u8] = b"lo";

/// Makes a process without privileges root of a new user namespace, in which it may create network namespaces; root
/// stays what it is. Files that the process creates have the same owner as before, and it keeps its supplementary
/// groups. No other thread may run yet.
pub fn enter_user_namespace() -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    if user.is_root() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWUSER)?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/gid_map", format!("0 {group} 1\n"))?;
    std::fs::write("/proc/self/uid_map", format!("0 {user} 1\n"))
}

/// Creates a namespace in which only the loopback interface is up. The caller stays in its own.
pub fn create() -> io::Result<OwnedFd> {
    on_thread(create_on_this_thread)
}

/// Runs `work` on a thread whose namespaces and IDs it may change.
pub fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let ended = scope.spawn(work).join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the thread of a namespace panicked")))
    })
}

/// Runs `work` on a thread in the network namespace.
pub fn run<T: Send>(namespace: &OwnedFd, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    on_thread(|| {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        work()
    })
}

fn create_on_this_thread() -> io::Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let namespace = File::open("/proc/thread-self/ns/net")?.into();
    raise(LOOPBACK)?;
    Ok(namespace)
}

/// A request for the interface with this name, which is at most 15 bytes long.
#[allow(unsafe_code, reason = "a structure of C")]
pub fn interface_request(name: &[u8]) -> libc::ifreq {
    // SAFETY: ifreq is a plain C structure for which all zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (target, byte) in request.ifr_name.iter_mut().zip(name) {
        *target = byte.cast_signed();
    }
    request
}

fn control() -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?)
}

/// Sets up an interface of the calling thread's namespace.
#[allow(unsafe_code, reason = "an ioctl on a structure of C")]
fn raise(name: &[u8]) -> io::Result<()> {
    let mut request = interface_request(name);
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives until the call returns.
    unsafe { set_flags(control()?.as_raw_fd(), &raw const request)? };
    Ok(())
}

/// Adds an address to an interface of the calling thread's namespace, and sets it up. A further address needs a label of
/// its own: `NAME:NUMBER`.
#[allow(unsafe_code, reason = "ioctls on structures of C")]
pub fn add_address(label: &str, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
    let request = |address: Ipv4Addr| {
        let mut request = interface_request(label.as_bytes());
        // Of an internet address: the port and the address.
        let mut bytes = [0; 14];
        bytes[2..6].copy_from_slice(&address.octets().map(u8::cast_signed));
        let family = libc::sa_family_t::try_from(libc::AF_INET).unwrap_or_default();
        request.ifr_ifru.ifru_addr = libc::sockaddr { sa_family: family, sa_data: bytes };
        request
    };
    let mask = u32::MAX.checked_shl(32_u32.saturating_sub(u32::from(prefix))).unwrap_or(0);
    let (control, [address, mask]) = (control()?, [address, Ipv4Addr::from_bits(mask)].map(request));
    // SAFETY: both calls read one ifreq each, which lives until they return.
    unsafe {
        set_address(control.as_raw_fd(), &raw const address)?;
        set_mask(control.as_raw_fd(), &raw const mask)?;
    }
    raise(label.as_bytes())
}

/// Runs the program of `command` in `namespace`, which must exist until the program is spawned.
#[allow(unsafe_code, reason = "a system call between fork and exec")]
pub fn run_in(command: &mut Command, namespace: &OwnedFd) {
    let namespace = namespace.as_raw_fd();
    // SAFETY: setns is a system call on integers. The child has the parent's descriptors, so the number is that of the
    // namespace, which the caller keeps.
    unsafe {
        command.pre_exec(move || {
            let namespace = BorrowedFd::borrow_raw(namespace);
            Ok(setns(namespace, CloneFlags::CLONE_NEWNET)?)
        });
    }
}
