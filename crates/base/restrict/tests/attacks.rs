//! What code that was taken over tries: each attempt succeeds in a process without the restriction, and fails in one with
//! it. An attempt runs in a process of its own, this test program, since a forbidden call may kill it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::num::NonZero;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use caps::Capability;
use nix::errno::Errno;
use nix::libc;
use nix::sched::CloneFlags;
use nix::sys::mman::{MapFlags, ProtFlags};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use restrict::system_calls::{Calls, OnEscape, VMWARE_PORTS, allow_only, deny_but_files};
use restrict::{files, keep_capabilities};

/// The attempt, its argument, and the restriction of a process.
const VARIABLE: &str = "RESTRICT_ATTEMPT";
const DONE: i32 = 0;
const DENIED: i32 = 77;
const OTHER: i32 = 78;

fn restrict(calls: &str) {
    if let Some(folder) = calls.strip_prefix("below ") {
        keep_capabilities(&[Capability::CAP_CHOWN, Capability::CAP_DAC_OVERRIDE, Capability::CAP_FOWNER])
            .unwrap();
        files::allow_writes_below(Path::new(folder)).unwrap();
        return deny_but_files().unwrap();
    }
    let (calls, on_escape) = match calls {
        "ports" => (Calls::Ports, OnEscape::Fail),
        "read" => (Calls::Read, OnEscape::Fail),
        "connect" => (Calls::Connect, OnEscape::KillProcess),
        "compute" => (Calls::Compute, OnEscape::KillProcess),
        "parse" => (Calls::Parse, OnEscape::Fail),
        _ => return,
    };
    let ports = [Capability::CAP_SYS_RAWIO];
    keep_capabilities(if calls == Calls::Ports { &ports } else { &[] }).unwrap();
    match calls {
        Calls::Read | Calls::Ports => files::deny_writes(&[]),
        Calls::Connect => files::allow_reads(&["/etc/hosts", "/usr/lib", "/lib"]),
        _ => files::allow_reads(&[]),
    }
    .unwrap();
    allow_only(calls, on_escape).unwrap();
}

/// Not a test of its own: the process that makes the attempt.
#[test]
#[ignore = "started by the tests below"]
fn attempt() {
    let text = std::env::var(VARIABLE).unwrap();
    let [calls, what, argument] = text.split('|').collect::<Vec<_>>().try_into().unwrap();
    restrict(calls);
    let code = match tried(what, argument) {
        Ok(()) => DONE,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => DENIED,
        Err(_) => OTHER,
    };
    // libtest's own end would use files.
    std::process::exit(code);
}

fn tried(what: &str, argument: &str) -> io::Result<()> {
    let pid = || Pid::from_raw(argument.parse().unwrap());
    match what {
        "write" => File::options().append(true).open(argument)?.write_all(b"x"),
        "create" => File::create(argument).map(drop),
        "truncate" => File::options().read(true).write(true).truncate(true).open(argument).map(drop),
        "remove" => fs::remove_file(argument),
        "read" => File::open(argument)?.read(&mut [0]).map(drop),
        "list" => fs::read_dir(argument).map(drop),
        "chmod" => fs::set_permissions(argument, fs::Permissions::from_mode(0o666)),
        "execute" => {
            let program = std::ffi::CString::new(argument).unwrap();
            Err(nix::unistd::execv(&program, &[&program]).unwrap_err().into())
        }
        "program" => Command::new(argument).status().map(drop),
        "trace" => {
            nix::sys::ptrace::attach(pid())?;
            nix::sys::wait::waitpid(pid(), None)?;
            Ok(nix::sys::ptrace::detach(pid(), None)?)
        }
        "signal" => Ok(kill(pid(), Signal::SIGCONT)?),
        "user namespace" => namespace(),
        "unix socket" => UnixStream::connect(argument).map(drop),
        "listen" => TcpListener::bind("127.0.0.1:0").map(drop),
        "connect" => TcpStream::connect(argument).map(drop),
        "resolve" => ("localhost", 80).to_socket_addrs().map(drop),
        "thread" => {
            let thread = std::thread::Builder::new().spawn(|| 7)?;
            assert_eq!(thread.join().unwrap(), 7);
            Ok(())
        }
        "memory" => {
            assert_eq!(vec![1_u8; 64 << 20].iter().filter(|byte| **byte == 1).count(), 64 << 20);
            Ok(())
        }
        "code" => code(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE | ProtFlags::PROT_EXEC),
        "anonymous code" => code(ProtFlags::PROT_READ | ProtFlags::PROT_EXEC),
        "io_uring" => system_call(libc::SYS_io_uring_setup, 0),
        "bpf" => system_call(libc::SYS_bpf, 9999),
        "mount" => system_call(libc::SYS_fsopen, 0),
        "keys" => system_call(libc::SYS_keyctl, 0),
        "handle" => system_call(libc::SYS_open_by_handle_at, -1),
        "ports" => {
            let numbers: Vec<u64> = argument.split('+').map(|number| number.parse().unwrap()).collect();
            ports(numbers[0], numbers[1])
        }
        "all ports" => system_call(libc::SYS_iopl, 3),
        other => panic!("{other}"),
    }
}

#[allow(unsafe_code, reason = "no safe wrapper has a namespace in a process with threads")]
fn namespace() -> io::Result<()> {
    let mut stack = vec![0; 64 << 10];
    let child = || 0;
    // SAFETY: the child has a copy of the memory, and returns at once.
    let pid = unsafe {
        nix::sched::clone(Box::new(child), &mut stack, CloneFlags::CLONE_NEWUSER, Some(libc::SIGCHLD))
    }?;
    nix::sys::wait::waitpid(pid, None)?;
    Ok(())
}

#[allow(unsafe_code, reason = "mmap")]
fn code(protection: ProtFlags) -> io::Result<()> {
    let length = NonZero::new(4096).unwrap();
    // SAFETY: a new mapping, which nobody uses.
    unsafe { nix::sys::mman::mmap_anonymous(None, length, protection, MapFlags::MAP_PRIVATE) }?;
    Ok(())
}

/// With arguments that are refused by the call itself: it was made if the error is its own.
#[allow(unsafe_code, reason = "calls without wrappers")]
fn system_call(number: i64, argument: i64) -> io::Result<()> {
    // SAFETY: invalid arguments: the calls change nothing.
    let result = unsafe { libc::syscall(number, argument, 0, 0, 0, 0) };
    match Errno::result(result) {
        Err(Errno::EPERM) => Err(Errno::EPERM.into()),
        _ => Ok(()),
    }
}

#[allow(unsafe_code, reason = "ioperm")]
fn ports(first: u64, count: u64) -> io::Result<()> {
    // SAFETY: this program makes no use of the permission.
    Errno::result(unsafe { libc::ioperm(first, count, 1) }).map(drop).map_err(io::Error::from)
}

fn run(calls: &str, what: &str, argument: &str) -> ExitStatus {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "attempt", "--nocapture"])
        .env(VARIABLE, format!("{calls}|{what}|{argument}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    output.status
}

/// Another process of the same user.
struct Victim(Child);

impl Victim {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// `Killed` where nothing of ours makes the call. In a thread, it is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Denied,
    Killed,
}

fn check(attempts: &[(&str, &str, End)]) {
    for (what, argument, end) in attempts {
        let before = run("none", what, argument);
        assert_eq!(before.code(), Some(DONE), "{what} {argument} without the restriction: {before}");
        for calls in ["connect", "compute", "parse"] {
            let after = run(calls, what, argument);
            let signal = after.signal();
            let expected = match end {
                End::Killed if calls != "parse" => signal == Some(libc::SIGSYS),
                _ => after.code() == Some(DENIED),
            };
            assert!(expected, "{what} {argument} under {calls}: {after}");
        }
    }
}

/// Landlock is needed for reading only: the filter of system calls denies the rest.
#[test]
fn code_that_was_taken_over_uses_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("file"), "text").unwrap();
    let file = path("file");
    check(&[
        ("write", &file, End::Denied),
        ("truncate", &file, End::Denied),
        ("chmod", &file, End::Denied),
        ("read", &file, End::Denied),
        ("list", folder.path().to_str().unwrap(), End::Denied),
        ("handle", "", End::Killed),
    ]);
    for what in ["create", "remove"] {
        let new = path("new");
        for calls in ["connect", "compute"] {
            if what == "remove" {
                fs::write(&new, "").unwrap();
            }
            assert_eq!(run(calls, what, &new).code(), Some(DENIED), "{what}");
            assert_eq!(Path::new(&new).exists(), what == "remove");
        }
        assert_eq!(run("none", what, &new).code(), Some(DONE), "{what}");
    }
    // A device, which any host has.
    check(&[("read", "/dev/zero", End::Denied)]);
    if File::open("/etc/shadow").is_ok() {
        check(&[("read", "/etc/shadow", End::Denied)]);
    } else {
        eprintln!("SKIPPED: code_that_was_taken_over_uses_no_file: only root reads /etc/shadow");
    }
}

#[test]
fn code_that_was_taken_over_reaches_no_process() {
    let victim = Victim::start();
    let pid = victim.0.id().to_string();
    let folder = tempfile::tempdir().unwrap();
    // In place of D-Bus.
    let bus = folder.path().join("bus");
    let _listener = UnixListener::bind(&bus).unwrap();
    check(&[
        ("execute", "/bin/true", End::Killed),
        ("signal", &pid, End::Denied),
        ("unix socket", bus.to_str().unwrap(), End::Denied),
        ("listen", "", End::Denied),
    ]);
    for (what, argument) in [("trace", &*pid), ("user namespace", ""), ("program", "/bin/true")] {
        if run("none", what, argument).code() != Some(DONE) {
            let test = "code_that_was_taken_over_reaches_no_process";
            eprintln!("SKIPPED: {test}: {what} is not possible on this host even without the restriction");
            continue;
        }
        for calls in ["connect", "compute"] {
            let after = run(calls, what, argument);
            let ended = after.code() == Some(DENIED) || after.signal() == Some(libc::SIGSYS);
            assert!(ended, "{what} under {calls}: {after}");
        }
    }
}

#[test]
fn code_that_was_taken_over_reaches_little_of_the_kernel() {
    check(&[
        ("code", "", End::Denied),
        ("anonymous code", "", End::Denied),
        ("io_uring", "", End::Killed),
        ("bpf", "", End::Killed),
        ("mount", "", End::Killed),
        ("keys", "", End::Killed),
    ]);
}

#[test]
fn code_that_reads_as_root_has_no_other_calls() {
    let victim = Victim::start();
    let pid = victim.0.id().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, bus) = (path("file"), path("bus"));
    fs::write(&file, "text").unwrap();
    let _listener = UnixListener::bind(&bus).unwrap();
    for (what, argument) in [
        ("write", &*file),
        ("truncate", &file),
        ("chmod", &file),
        ("create", &file),
        ("signal", &pid),
        ("unix socket", &bus),
        ("listen", ""),
        ("code", ""),
        ("anonymous code", ""),
        ("io_uring", ""),
        ("bpf", ""),
        ("mount", ""),
        ("keys", ""),
        ("handle", ""),
        ("program", "/bin/true"),
        ("execute", "/bin/true"),
    ] {
        let [before, after] = ["none", "read"].map(|calls| run(calls, what, argument).code());
        assert_eq!((before, after), (Some(DONE), Some(DENIED)), "{what} {argument}");
        assert_eq!(run("ports", what, argument).code(), Some(DENIED), "{what} {argument}");
    }
}

#[test]
fn only_the_ports_of_a_hypervisor_are_used() {
    let (first, count) = VMWARE_PORTS;
    let own = format!("{first}+{count}");
    if run("none", "ports", &own).code() != Some(DONE) {
        let test = "only_the_ports_of_a_hypervisor_are_used";
        eprintln!("SKIPPED: {test}: only root with CAP_SYS_RAWIO uses I/O ports");
        return;
    }
    assert_eq!(run("ports", "ports", &own).code(), Some(DONE));
    assert_eq!(run("read", "ports", &own).code(), Some(DENIED));
    // The keyboard's, a range with others, and all.
    for (what, argument) in [("ports", "96+4"), ("ports", "22104+8"), ("all ports", "")] {
        let [before, after] = ["none", "ports"].map(|calls| run(calls, what, argument).code());
        assert_eq!((before, after), (Some(DONE), Some(DENIED)), "{what} {argument}");
    }
}

/// Also as root, which may write everywhere.
#[test]
fn code_that_writes_a_folder_writes_no_other() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let calls = format!("below {}", folder.path().to_str().unwrap());
    let victim = Victim::start();
    let pid = victim.0.id().to_string();
    let path = |folder: &tempfile::TempDir, name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (what, name) in
        [("write", "file"), ("truncate", "file"), ("create", "new"), ("remove", "file"), ("chmod", "file")]
    {
        for (place, expected) in [(&folder, DONE), (&other, DENIED)] {
            fs::write(path(place, "file"), "text").unwrap();
            // Metadata is beyond Landlock: what cannot be opened for writing can be changed by its owner.
            let expected = if what == "chmod" { DONE } else { expected };
            let status = run(&calls, what, &path(place, name));
            assert_eq!(status.code(), Some(expected), "{what} {}: {status}", place.path().display());
        }
    }
    assert_eq!(fs::read_to_string(path(&other, "file")).unwrap(), "text");
    for (what, argument) in [
        ("program", "/bin/true"),
        ("execute", "/bin/true"),
        ("signal", &pid),
        ("trace", &pid),
        ("io_uring", ""),
        ("bpf", ""),
        ("mount", ""),
        ("keys", ""),
        ("handle", ""),
    ] {
        assert_eq!(run(&calls, what, argument).code(), Some(DENIED), "{what} {argument}");
    }
    assert_eq!(run(&calls, "read", "/etc/hosts").code(), Some(DONE));
}

#[test]
fn transfers_and_computations_work() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for (calls, what, argument, expect) in [
        ("connect", "connect", &*address, DONE),
        ("connect", "resolve", "", DONE),
        ("connect", "thread", "", DONE),
        ("connect", "read", "/etc/hosts", DONE),
        ("connect", "memory", "", DONE),
        ("read", "connect", &*address, DONE),
        ("read", "resolve", "", DONE),
        ("read", "thread", "", DONE),
        ("read", "read", "/etc/hosts", DONE),
        ("read", "list", "/etc", DONE),
        ("read", "memory", "", DONE),
        ("parse", "memory", "", DONE),
        ("parse", "connect", &*address, DENIED),
        ("parse", "thread", "", DENIED),
        ("compute", "memory", "", DONE),
        ("compute", "connect", &*address, DENIED),
        ("compute", "thread", "", DENIED),
        ("compute", "read", "/etc/hosts", DENIED),
    ] {
        let status = run(calls, what, argument);
        assert_eq!(status.code(), Some(expect), "{what} under {calls}: {status}");
    }
}
