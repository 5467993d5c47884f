use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use restrict::system_calls::VMWARE_PORTS;

use super::*;

const STATUS: &str = "/proc/thread-self/status";
/// Capability bits.
const READ_SEARCH: u64 = 1 << 2;
const RAW_IO: u64 = 1 << 17;

pub(super) fn log() -> Log {
    Log::from_environment()
}

pub(super) fn read<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, RightsError> {
    read_only(&ExtraRights::default(), &log(), work)
}

fn with_services() -> ExtraRights {
    ExtraRights { services: true, ..ExtraRights::default() }
}

fn with_ports() -> ExtraRights {
    ExtraRights { ports: true, ..ExtraRights::default() }
}

/// Inheritable, permitted and effective capabilities, and `NoNewPrivs`.
fn rights(status: &str) -> [u64; 4] {
    let lines: BTreeMap<_, _> = status.lines().filter_map(|line| line.split_once(":\t")).collect();
    ["CapInh", "CapPrm", "CapEff", "NoNewPrivs"].map(|key| u64::from_str_radix(lines[key], 16).unwrap())
}

fn current() -> [u64; 4] {
    rights(&fs::read_to_string(STATUS).unwrap())
}

/// As another thread reads them: one that parses opens no file.
fn of_parsing_thread() -> [u64; 4] {
    let (sender, started) = channel();
    let (end, ended) = channel::<()>();
    let observer = thread::spawn(move || {
        let status = fs::read_to_string(format!("/proc/self/task/{}/status", started.recv().unwrap()));
        drop(end);
        rights(&status.unwrap())
    });
    parse_only(&log(), move || {
        sender.send(nix::unistd::gettid()).unwrap();
        ended.recv().unwrap_err();
    })
    .unwrap();
    observer.join().unwrap()
}

/// Whether the kernel supports Landlock; reports `test` as skipped otherwise.
pub(super) fn has_landlock(test: &str) -> bool {
    let has = thread::spawn(|| {
        prctl::set_no_new_privs().unwrap();
        files::deny_writes(&[]).unwrap()
    });
    let has = has.join().unwrap();
    if !has {
        eprintln!("SKIPPED: rights::{test}: this kernel has no Landlock");
    }
    has
}

pub(super) fn denied<T>(tried: impl Borrow<io::Result<T>>) -> bool {
    tried.borrow().as_ref().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

#[test]
fn a_thread_that_reads_has_no_other_rights_and_gets_none_back() {
    let before = current();
    let [_, if_permitted, ..] = before;
    let work = || (current(), thread::spawn(current).join().unwrap());
    let (ours, child) = read(work).unwrap();
    let expect = [0, if_permitted & READ_SEARCH, if_permitted & READ_SEARCH, 1];
    assert_eq!((ours, child), (expect, expect));
    assert_eq!(current(), before, "the thread that waits keeps its own");
    let (ours, parses) = read_only(&with_ports(), &log(), || (current(), of_parsing_thread())).unwrap();
    let both = if_permitted & (READ_SEARCH | RAW_IO);
    assert_eq!(ours, [0, both, both, 1]);
    assert_eq!(parses, [0, 0, 0, 1]);
}

#[test]
fn another_users_file_is_read_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "theirs").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    if std::os::unix::fs::chown(&path, Some(4321), Some(4321)).is_err() {
        let test = "rights::tests::another_users_file_is_read_and_not_written";
        eprintln!("SKIPPED: {test}: only root can create a file of another user");
        return;
    }
    let (content, written) =
        read(|| (fs::read_to_string(&path), File::options().append(true).open(&path))).unwrap();
    assert_eq!(content.unwrap(), "theirs");
    assert!(denied(written));
    File::options().append(true).open(&path).unwrap();
}

/// Attempts that succeed by the files' own permissions.
fn changes(folder: &Path) -> Vec<(&'static str, bool)> {
    let (existing, new) = (folder.join("there"), folder.join("new"));
    vec![
        ("create", denied(File::create(&new))),
        ("append", denied(File::options().append(true).open(&existing))),
        ("truncate", denied(File::options().write(true).truncate(true).open(&existing))),
        ("rename", denied(fs::rename(&existing, &new))),
        ("link", denied(fs::hard_link(&existing, &new))),
        ("symlink", denied(symlink("/etc", &new))),
        ("make a folder", denied(fs::create_dir(&new))),
        ("remove a folder", denied(fs::remove_dir(folder.join("folder")))),
        ("make a socket", denied(UnixDatagram::bind(&new))),
        ("remove", denied(fs::remove_file(&existing))),
    ]
}

#[test]
fn a_thread_that_reads_writes_no_file() {
    if !has_landlock("tests::a_thread_that_reads_writes_no_file") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let existing = folder.path().join("there");
    fs::write(&existing, "as it was").unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    let check = |tried: Vec<(&str, bool)>| {
        let done: Vec<_> = tried.into_iter().filter(|(_, denied)| !denied).collect();
        assert_eq!(done, []);
        assert_eq!(fs::read_to_string(&existing).unwrap(), "as it was");
    };
    check(read(|| changes(folder.path())).unwrap());
    check(read(|| thread::scope(|scope| scope.spawn(|| changes(folder.path())).join().unwrap())).unwrap());
    check(read_only(&with_services(), &log(), || changes(folder.path())).unwrap());
    check(read(|| parse_only(&log(), || changes(folder.path())).unwrap()).unwrap());
    assert_eq!(read(|| fs::read_to_string(&existing)).unwrap().unwrap(), "as it was");
    // A source's device stays writable.
    let rights = ExtraRights { devices: vec![existing.clone()], ..ExtraRights::default() };
    let write = |path: &Path| File::options().read(true).write(true).open(path);
    let other = folder.path().join("other");
    fs::write(&other, "").unwrap();
    let (named, not) = read_only(&rights, &log(), || (write(&existing), write(&other))).unwrap();
    assert!(named.is_ok() && denied(not));
}

#[test]
fn a_thread_that_reads_changes_nothing_by_other_calls() {
    let folder = tempfile::tempdir().unwrap();
    let mode = |mode| fs::set_permissions(folder.path(), Permissions::from_mode(mode));
    for rights in [ExtraRights::default(), with_services()] {
        let (changed, in_thread) =
            read_only(&rights, &log(), || (mode(0o777), unshare(CloneFlags::CLONE_FS))).unwrap();
        assert!(denied(changed));
        assert_eq!(in_thread, Err(Errno::EPERM));
    }
    mode(0o755).unwrap();
}

#[test]
fn no_thread_that_reads_starts_a_program() {
    let start = || Command::new("true").status();
    assert!(start().unwrap().success());
    for rights in [ExtraRights::default(), with_services(), with_ports()] {
        assert!(denied(read_only(&rights, &log(), start).unwrap()));
    }
    assert!(denied(read(|| parse_only(&log(), start).unwrap()).unwrap()));
}

/// The ports of VMware's hypervisor, and none of hardware.
#[test]
#[allow(unsafe_code, reason = "ioperm has no safe wrapper")]
fn only_who_needs_ports_uses_them() {
    // SAFETY: nothing uses the permission.
    let permit = |first, count| Errno::result(unsafe { libc::ioperm(first, count, 1) });
    let (first, count) = VMWARE_PORTS;
    let own = || permit(first.into(), count.into());
    if own().is_err() {
        eprintln!(
            "SKIPPED: rights::tests::only_who_needs_ports_uses_them: only root with CAP_SYS_RAWIO uses I/O ports"
        );
        return;
    }
    let keyboard = || permit(0x60, 4);
    keyboard().unwrap();
    let (ours, others) = read_only(&with_ports(), &log(), || (own(), keyboard())).unwrap();
    assert_eq!((ours, others), (Ok(0), Err(Errno::EPERM)));
    for rights in [ExtraRights::default(), with_services()] {
        assert_eq!(read_only(&rights, &log(), own).unwrap(), Err(Errno::EPERM));
    }
    assert_eq!(
        read_only(&with_ports(), &log(), || parse_only(&log(), own).unwrap()).unwrap(),
        Err(Errno::EPERM)
    );
}

#[test]
fn what_parses_has_no_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect(address);
    let resolve = || ("localhost", 80).to_socket_addrs();
    let (connected, resolved) = read(|| (connect(), resolve())).unwrap();
    assert!(connected.is_ok() && resolved.unwrap().next().is_some());
    let (connected, datagram) =
        read(|| parse_only(&log(), || (connect(), UdpSocket::bind("127.0.0.1:0"))).unwrap()).unwrap();
    assert!(denied(connected) && denied(datagram));
}

#[test]
fn what_the_work_says_and_how_it_ends_is_passed_on() {
    assert_eq!(read(|| 7).unwrap(), 7);
    let panic = std::panic::catch_unwind(|| read(|| panic!("here"))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"here"));
}
