//! Children that receive and unpack: without rights, killed, and taken over.

mod hostile;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use folder_machine::{Machine, releases};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};
use update_core::trust::UpdateOptions;
use update_engine::{CheckOutcome, Failure, Isolation, Kind};

use crate::server::{Fault, Server};
use crate::{Operations, check, command, installed, server_with};

/// A program in place of the children's, which records its processes.
struct Wrapper {
    folder: tempfile::TempDir,
}

impl Wrapper {
    /// `instead`: what a child with this role does in place of its work. `$data` is a file with `bytes`.
    fn new(role: &str, instead: &str, bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        symlink(env!("CARGO_BIN_EXE_update-agent"), path("update-worker")).unwrap();
        fs::write(path("data"), bytes).unwrap();
        fs::write(path("processes"), "").unwrap();
        let script = format!(
            "#!/bin/sh\ncd '{}'\ndata=data\necho \"$1 $$\" >> processes\nif [ \"$1\" = '{role}' ]; then\n{instead}\nfi\n\
             exec ./update-worker \"$@\"\n",
            folder.path().display()
        );
        // In one write: another thread's child must not have it open for writing when it is executed.
        fs::write(path("script"), script).unwrap();
        fs::set_permissions(path("script"), Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    /// Children as they are.
    fn recording() -> Self {
        Self::new("none", ":", b"")
    }

    fn processes(&self, role: &str) -> Vec<i32> {
        let text = fs::read_to_string(self.folder.path().join("processes")).unwrap();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.filter(|(of, _)| *of == role).filter_map(|(_, pid)| pid.parse().ok()).collect()
    }

    fn check(&self, machine: &Machine, server: &Server) -> CheckOutcome {
        let settings = machine.settings(&format!("GROUP=alpha\nSERVER={}\n", server.url));
        let mut updater = machine.updater();
        updater.isolation = Isolation::Process(self.folder.path().join("script"));
        updater.check(&settings, false, UpdateOptions::default(), &Operations::default())
    }

    fn failure(&self, machine: &Machine, server: &Server) -> Failure {
        self.check(machine, server).outcome.unwrap_err()
    }
}

fn status(pid: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/status")).ok()
}

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

/// Waits until a process with this role is restricted, and returns its status and open files.
fn observed(wrapper: &Wrapper, role: &str) -> (String, Vec<PathBuf>) {
    let limit = Instant::now() + Duration::from_secs(60);
    let mut last = String::new();
    while Instant::now() < limit {
        for pid in wrapper.processes(role) {
            let Some(status) = status(pid) else { continue };
            if field(&status, "Seccomp") == "2" {
                let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
                return (status, files.filter_map(|file| fs::read_link(file.path()).ok()).collect());
            }
            last = status;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("no {role} process with a filter of system calls; last: {last}");
}

#[test]
fn children_have_no_rights() {
    let machine = Machine::new();
    // Long enough to observe both.
    let server = server_with(Fault::Slow(Duration::from_millis(500)));
    let wrapper = Wrapper::recording();
    std::thread::scope(|scope| {
        let checking = scope.spawn(|| wrapper.check(&machine, &server));
        for role in ["transfer", "unpack"] {
            let (status, files) = observed(&wrapper, role);
            for set in ["CapInh", "CapPrm", "CapEff"] {
                assert_eq!(u64::from_str_radix(&field(&status, set), 16).unwrap(), 0, "{role} {set}");
            }
            assert_eq!(field(&status, "NoNewPrivs"), "1", "{role}");
            if nix::unistd::geteuid().is_root() {
                assert_eq!(field(&status, "Uid"), "65534", "{role}");
                assert_eq!(field(&status, "Gid"), "65534", "{role}");
            }
            for file in files {
                let text = file.to_string_lossy();
                assert!(text.starts_with("socket:") || text == "/dev/null", "{role} has {text}");
            }
        }
        let checked = checking.join().unwrap();
        assert!(installed(&checked), "{:?}", checked.outcome);
    });
    machine.assert_bootable();
    let left: Vec<_> = ["transfer", "unpack"].iter().flat_map(|role| wrapper.processes(role)).collect();
    assert!(left.len() >= 2 && left.iter().all(|pid| status(*pid).is_none()), "{left:?}");
}

/// Kills each child with this role until the work is done.
fn while_killed<T: Send>(wrapper: &Wrapper, role: &str, work: impl FnOnce() -> T + Send) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut killed = Vec::new();
            while !done.load(Ordering::Relaxed) {
                for pid in wrapper.processes(role) {
                    let restricted = status(pid).is_some_and(|status| field(&status, "Seccomp") == "2");
                    if restricted && !killed.contains(&pid) {
                        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
                        killed.push(pid);
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            killed.len()
        });
        let outcome = work();
        done.store(true, Ordering::Relaxed);
        assert!(killer.join().unwrap() > 0, "none was killed");
        outcome
    })
}

#[test]
fn a_machine_whose_children_are_killed_stays_updatable() {
    for (role, process) in [("transfer", "the download process"), ("unpack", "the unpacking process")] {
        let machine = Machine::new();
        // A server that is slow enough to be in the middle of it.
        let server = server_with(Fault::Slow(Duration::from_millis(200)));
        let wrapper = Wrapper::recording();
        let failure = while_killed(&wrapper, role, || wrapper.failure(&machine, &server));
        assert_eq!(failure.kind, Kind::Transient, "{failure}");
        let expect = format!("{process} ended: signal SIGKILL");
        assert!(failure.message.ends_with(&expect), "{failure}");
        machine.assert_bootable();
        assert_eq!(machine.next_boot(), "keelson_2.0.0.efi", "{role}");
        assert!(installed(&check(&machine, &server)), "{role}");
        machine.assert_bootable();
    }
}

#[test]
fn one_killed_child_is_replaced_within_the_attempt() {
    let machine = Machine::new();
    let server = server_with(Fault::Slow(Duration::from_millis(500)));
    let wrapper = Wrapper::recording();
    let checked = std::thread::scope(|scope| {
        let checking = scope.spawn(|| wrapper.check(&machine, &server));
        observed(&wrapper, "unpack");
        // The next segment is under way: its server is slow.
        let pid = *wrapper.processes("transfer").last().unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        checking.join().unwrap()
    });
    assert!(installed(&checked), "{:?}", checked.outcome);
    assert!(wrapper.processes("transfer").len() >= 2);
    machine.assert_bootable();
}

#[test]
fn a_child_ends_with_its_parent() {
    let machine = Machine::new();
    let folder = releases().full_only.folder.clone();
    let mut agent = command(&machine, &["apply", folder.to_str().unwrap()]).spawn().unwrap();
    let children = |parent: u32| -> Vec<i32> {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| status(*pid).is_some_and(|status| field(&status, "PPid") == parent.to_string()))
            .collect()
    };
    let limit = Instant::now() + Duration::from_secs(60);
    let child = loop {
        if let Some(child) = children(agent.id()).first() {
            break *child;
        }
        assert!(Instant::now() < limit && agent.try_wait().unwrap().is_none(), "it started no child");
    };
    agent.kill().unwrap();
    agent.wait().unwrap();
    let ended = || status(child).is_none_or(|status| field(&status, "State") == "Z");
    while !ended() {
        assert!(Instant::now() < limit, "it outlived its parent: {:?}", status(child));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The socket of a child is its standard input: without one it does nothing.
#[test]
fn a_worker_without_a_parent_exits() {
    for arguments in [&["transfer", "1"][..], &["unpack", "0"], &["transfer"], &["other", "1"]] {
        let mut worker = std::process::Command::new(env!("CARGO_BIN_EXE_update-agent"));
        std::os::unix::process::CommandExt::arg0(&mut worker, "update-worker");
        let mut worker = worker.args(arguments).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let mut stdin = worker.stdin.take().unwrap();
        // It may have exited.
        drop(stdin.write_all(&[0; 100]));
        drop(stdin);
        assert!(!worker.wait().unwrap().success(), "{arguments:?}");
    }
}

/// A name from the hosts file, and a certificate that the child reads before it is restricted.
#[test]
fn names_and_tls_work_in_a_child() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let mut request = [0; 2000];
            // A client that does not trust the certificate.
            if stream.read(&mut request).is_err() {
                continue;
            }
            let response = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody";
            stream.write_all(response).unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let certificates = folder.path().join("certificates");
    fs::write(&certificates, certified.cert.pem()).unwrap();
    let trusting = format!("export SSL_CERT_FILE='{}'", certificates.display());
    let get = |wrapper: &Wrapper| {
        let isolation = Isolation::Process(wrapper.folder.path().join("script"));
        update_worker::Transfers::new(&isolation).get(&format!("https://localhost:{port}/x"), 100)
    };
    assert_eq!(get(&Wrapper::new("transfer", &trusting, b"")).unwrap(), b"body");
    let refused = get(&Wrapper::recording()).unwrap_err();
    assert!(matches!(&refused, update_worker::HttpError::Transport { .. }), "{refused:?}");
}

/// Makes the kernel of this thread, and of what it starts, one without Landlock.
fn without_landlock() {
    let rules = [(nix::libc::SYS_landlock_create_ruleset, Vec::new())].into_iter().collect();
    let missing = SeccompAction::Errno(nix::libc::ENOSYS as u32);
    let target = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, target).unwrap();
    apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

#[test]
fn a_kernel_without_landlock_updates_with_one_warning() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = log.clone();
    let write = move || LogWriter(writer.clone());
    let subscriber = tracing_subscriber::fmt().with_writer(write).with_ansi(false).finish();
    let (machine, server, wrapper) = (Machine::new(), server_with(Fault::None), Wrapper::recording());
    std::thread::scope(|scope| {
        let check = || {
            without_landlock();
            tracing::subscriber::with_default(subscriber, || wrapper.check(&machine, &server))
        };
        let checked = scope.spawn(check).join().unwrap();
        assert!(installed(&checked), "{:?}", checked.outcome);
    });
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("process can open files")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("no Landlock"), "{log}");
}

struct LogWriter(Arc<Mutex<Vec<u8>>>);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
