//! System calls of code that should only read, each of which is permitted in a thread with all rights: it needs no
//! capability, and Landlock does not cover it.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;

use nix::errno::Errno;
use nix::libc;
use nix::sys::inotify::{InitFlags, Inotify};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::tests::{denied, has_landlock, log, read};
use super::*;

/// `setxattrat` of Linux 6.13, which libc does not know.
const SYS_SETXATTRAT: i64 = 463;
const NO_DUMP: libc::c_int = 0x40;

type Attempt = fn(&Targets) -> io::Result<()>;

/// On another process of the same user. Root's are systemd, etcd and the agent.
const ON_PROCESSES: [(&str, Attempt); 3] = [
    ("signal", |at| call(libc::SYS_tgkill, [at.pid(), at.pid(), libc::SIGCONT.into(), 0]).map(drop)),
    ("limit", |at| {
        let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
        call(libc::SYS_prlimit64, [at.pid(), libc::RLIMIT_NOFILE.into(), address(&limit)]).map(drop)
    }),
    // D-Bus: systemd obeys root, whatever its capabilities.
    ("connect to", |at| UnixStream::connect(&at.bus).map(drop)),
];

/// On files that are open to read, or by their paths.
const ON_FILES: [(&str, Attempt); 3] = [
    // The lock of another run.
    ("lock", |at| Ok(File::open(&at.file)?.try_lock()?)),
    ("attributes", |at| {
        let file = File::open(&at.file)?;
        call(libc::SYS_ioctl, [file.as_raw_fd().into(), libc::FS_IOC_SETFLAGS as i64, address(&NO_DUMP)])
            .map(drop)
    }),
    ("extended attributes", |at| {
        let path = std::ffi::CString::new(at.file.as_os_str().as_encoded_bytes())?;
        // `struct xattr_args`: the value's address, its length, flags.
        let value = [address(b"x"), 1];
        let [path, name] = [path.as_ptr().addr() as i64, c"user.x".as_ptr().addr() as i64];
        let [folder, size] = [libc::AT_FDCWD.into(), size_of_val(&value) as i64];
        call(SYS_SETXATTRAT, [folder, path, 0, name, address(&value), size]).map(drop)
    }),
];

/// On the kernel: objects that outlive the process, and interfaces that reading does not need.
const ON_THE_KERNEL: [(&str, Attempt); 6] = [
    ("listen", |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop)),
    ("netlink", |_| Ok(socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), None).map(drop)?)),
    ("pair", |_| UnixStream::pair().map(drop)),
    ("memory file", |_| Ok(memfd_create(c"x", MFdFlags::empty()).map(drop)?)),
    ("watch", |_| Ok(Inotify::init(InitFlags::empty()).map(drop)?)),
    ("message queue", |_| {
        let queue = call(libc::SYS_msgget, [libc::IPC_PRIVATE.into(), 0o600])?;
        call(libc::SYS_msgctl, [queue, libc::IPC_RMID.into(), 0]).map(drop)
    }),
];

/// What a thread that parses does not do either.
const READING: [(&str, Attempt); 4] = [
    ("open", |at| File::open(&at.file).map(drop)),
    ("status", |at| fs::metadata(&at.file).map(drop)),
    ("list", |at| fs::read_dir(at.file.parent().unwrap()).map(drop)),
    ("thread", |_| thread::Builder::new().spawn(|| ()).map(|thread| thread.join().unwrap())),
];

struct Targets {
    _folder: tempfile::TempDir,
    victim: Child,
    file: PathBuf,
    /// In place of D-Bus.
    bus: PathBuf,
    _listener: UnixListener,
}

impl Targets {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [file, bus] = ["file", "bus"].map(|name| folder.path().join(name));
        fs::write(&file, "text").unwrap();
        let listener = UnixListener::bind(&bus).unwrap();
        let victim = Command::new("sleep").arg("600").spawn().unwrap();
        Self { _folder: folder, victim, file, bus, _listener: listener }
    }

    fn pid(&self) -> i64 {
        self.victim.id().into()
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.victim.kill().unwrap();
        self.victim.wait().unwrap();
    }
}

fn address<T: ?Sized>(value: &T) -> i64 {
    std::ptr::from_ref(value).addr() as i64
}

/// The rest of the arguments is zero.
#[allow(unsafe_code, reason = "calls without wrappers")]
fn call<const COUNT: usize>(number: i64, arguments: [i64; COUNT]) -> io::Result<i64> {
    let [a, b, c, d, e, f] = std::array::from_fn(|index| arguments.get(index).copied().unwrap_or(0));
    // SAFETY: the addresses are those of values that live, of which the kernel only reads.
    Ok(Errno::result(unsafe { libc::syscall(number, a, b, c, d, e, f) })?)
}

/// Whether the call was permitted, and the kernel or the file system of temporary files lacks it. Filters of system
/// calls answer before either.
fn is_unsupported(error: &io::Error) -> bool {
    let lacking = [libc::EOPNOTSUPP, libc::ENOTTY, libc::ENOSYS];
    error.raw_os_error().is_some_and(|number| lacking.contains(&number))
}

/// Checks that `attempts` are permitted in a thread with all rights, and in one that reads only if `reads`, and never in one
/// that parses.
fn check(attempts: &[(&str, Attempt)], reads: bool) {
    let targets = Targets::new();
    let mut unexpected = Vec::new();
    for (what, attempt) in attempts {
        match attempt(&targets) {
            Err(error) if is_unsupported(&error) => {}
            tried => tried.unwrap_or_else(|error| panic!("{what} with all rights: {error}")),
        }
        let in_reading = read(|| attempt(&targets)).unwrap();
        if reads != in_reading.is_ok() || !(reads || denied(&in_reading)) {
            unexpected.push(format!("{what} in a thread that reads: {in_reading:?}"));
        }
        let in_parsing = read(|| parse_only(&log(), || attempt(&targets)).unwrap()).unwrap();
        if !denied(&in_parsing) {
            unexpected.push(format!("{what} in a thread that parses: {in_parsing:?}"));
        }
    }
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

#[test]
fn a_thread_that_reads_reaches_no_other_process() {
    check(&ON_PROCESSES, false);
}

#[test]
fn a_thread_that_reads_changes_nothing_of_an_open_file() {
    check(&ON_FILES, false);
}

#[test]
fn a_thread_that_reads_reaches_little_of_the_kernel() {
    check(&ON_THE_KERNEL, false);
}

#[test]
fn a_thread_that_parses_opens_no_file() {
    check(&READING, true);
}

/// Name service modules connect to them, in a thread that has no other new right.
#[test]
fn only_who_needs_services_reaches_them() {
    let targets = Targets::new();
    let [(_, signal), ..] = ON_PROCESSES;
    let services = ExtraRights { services: true, ..ExtraRights::default() };
    let (connected, started, signalled, written) = read_only(&services, &log(), || {
        let written = File::options().append(true).open(&targets.file);
        (UnixStream::connect(&targets.bus), Command::new("true").status(), signal(&targets), written)
    })
    .unwrap();
    assert!(connected.is_ok() && denied(started) && denied(signalled));
    assert!(!has_landlock("attacks::only_who_needs_services_reaches_them") || denied(written));
    assert!(denied(read(|| UnixStream::connect(&targets.bus)).unwrap()));
}
