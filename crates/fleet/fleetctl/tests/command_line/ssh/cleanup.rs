//! No processes or files of a connection remain, and the caller's files are unchanged.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Output, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;

use crate::program::transcript;
use crate::sshd::{Fixture, wait_for};

/// A running command in its own process group, and its descendants.
struct Running {
    child: Child,
    descendants: Vec<u32>,
}

fn fixture() -> Fixture {
    let fixture = Fixture::new().with_agent().with_path("TMPDIR", "tmp");
    std::fs::create_dir(fixture.path("tmp")).unwrap();
    fixture
}

/// Name, state and parent of a process; `None` if it has exited.
fn process(id: u32) -> Option<(String, char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (name, rest) = stat.rsplit_once(')').unwrap();
    let mut fields = rest.split_whitespace();
    let state = fields.next().unwrap().chars().next().unwrap();
    Some((name.split_once('(').unwrap().1.to_owned(), state, fields.next().unwrap().parse().unwrap()))
}

/// Zombies do not count as running.
fn is_running(id: u32) -> bool {
    process(id).is_some_and(|(_, state, _)| state != 'Z')
}

/// Ids and names of the child processes of `parent`.
fn children(parent: u32) -> Vec<(u32, String)> {
    let names = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    let ids = names.filter_map(|name| name.to_string_lossy().parse::<u32>().ok());
    let all = ids.filter_map(|id| process(id).map(|(name, _, of)| (id, name, of)));
    all.filter(|(_, _, of)| *of == parent).map(|(id, name, _)| (id, name)).collect()
}

impl Running {
    fn start(fixture: &Fixture, arguments: &[&str]) -> Running {
        let child = fixture.program.command(arguments).process_group(0).spawn().unwrap();
        Running { child, descendants: Vec::new() }
    }

    /// Waits until the remote command is running.
    fn wait_until_started(&mut self) {
        let mut line = [0; 3];
        self.child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        assert_eq!(&line, b"up\n");
        self.record_descendants();
    }

    /// Waits until `ssh` is running.
    fn wait_until_connecting(&mut self) {
        let id = self.child.id();
        wait_for("ssh", || children(id).iter().any(|(_, name)| name == "ssh"));
        self.record_descendants();
    }

    fn record_descendants(&mut self) {
        self.descendants = children(self.child.id()).into_iter().map(|(id, _)| id).collect();
        assert!(self.descendants.len() >= 2, "ssh, and who removes its folder: {:?}", self.descendants);
    }

    fn ssh(&self) -> u32 {
        let all = children(self.child.id());
        all.iter().find(|(_, name)| name == "ssh").unwrap().0
    }

    /// Waits for the exit, then checks that no process and no file remains.
    fn wait_for_exit(self, fixture: &Fixture) -> Output {
        let output = self.child.wait_with_output().unwrap();
        wait_for("the end of all", || !self.descendants.iter().any(|id| is_running(*id)));
        wait_for("an empty folder", || std::fs::read_dir(fixture.path("tmp")).unwrap().next().is_none());
        output
    }
}

fn send(signal: Signal, id: i32) {
    kill(Pid::from_raw(id), signal).unwrap();
}

const SLEEP: [&str; 4] = ["echo", "up;", "sleep", "60"];

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn ssh_is_killed() {
    let fixture = fixture().with_known_host();
    let port = format!("--ssh-port={}", fixture.port);
    let mut running = Running::start(&fixture, &[&["ssh", &port, "feedbeef"], &SLEEP[..]].concat());
    running.wait_until_started();
    send(Signal::SIGKILL, running.ssh() as i32);
    assert_eq!(
        transcript(&running.wait_for_exit(&fixture)),
        "err| Failed running command: ssh: the connection ended before the command did\nexit 255\n"
    );
}

/// The server's process of the connection.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn server_process_is_killed() {
    let fixture = fixture().with_known_host();
    let port = format!("--ssh-port={}", fixture.port);
    let script = "echo up; read order; kill -9 $PPID; sleep 60";
    let mut running = Running::start(&fixture, &["ssh", &port, "feedbeef", script]);
    running.wait_until_started();
    running.child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(
        transcript(&running.wait_for_exit(&fixture)),
        "err| Failed running command: ssh: the connection ended before the command did\nexit 255\n"
    );
}

/// nohup and background jobs of a shell start processes with these signals ignored, and children inherit that.
fn reset_signal_handlers() {
    for number in [Signal::SIGHUP, Signal::SIGINT] {
        // SAFETY: no handler is installed, and this process has none for either.
        unsafe { signal(number, SigHandler::SigDfl) }.unwrap();
    }
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn signals_leave_no_processes_or_files() {
    reset_signal_handlers();
    let fixture = fixture().with_known_host();
    let port = format!("--ssh-port={}", fixture.port);
    let session = [&["ssh", &port, "feedbeef"], &SLEEP[..]].concat();
    let tunnel = format!("--tunnel=127.0.0.1:{}", fixture.port);
    let hops = [&[tunnel.as_str()], &session[..]].concat();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("--ssh-port={}", silent.local_addr().unwrap().port());
    let connecting = ["ssh", &silent, "feedbeef", "true"];

    let ends = |arguments: &[&str], until: fn(&mut Running), signal: Signal, to_all: bool| {
        let mut running = Running::start(&fixture, arguments);
        until(&mut running);
        let id = running.child.id() as i32;
        send(signal, if to_all { -id } else { id });
        let output = running.wait_for_exit(&fixture);
        assert_eq!(output.status.signal(), Some(signal as i32), "{arguments:?} {signal} {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?} {signal}");
    };
    for arguments in [&session, &hops] {
        // A terminal sends signals to the whole process group.
        ends(arguments, Running::wait_until_started, Signal::SIGINT, true);
        ends(arguments, Running::wait_until_started, Signal::SIGHUP, true);
        ends(arguments, Running::wait_until_started, Signal::SIGTERM, false);
        ends(arguments, Running::wait_until_started, Signal::SIGKILL, false);
    }
    ends(&connecting, Running::wait_until_connecting, Signal::SIGINT, true);
    ends(&connecting, Running::wait_until_connecting, Signal::SIGKILL, false);
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn signal_during_the_host_key_prompt() {
    reset_signal_handlers();
    let fixture = fixture();
    let port = format!("--ssh-port={}", fixture.port);
    let mut running = Running::start(&fixture, &["ssh", &port, "feedbeef", "true"]);
    let mut prompt = BufReader::new(running.child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("ED25519 key fingerprint is SHA256:") {
        line.clear();
        assert_ne!(prompt.read_line(&mut line).unwrap(), 0);
    }
    running.descendants = children(running.child.id()).into_iter().map(|(id, _)| id).collect();
    send(Signal::SIGINT, -(running.child.id() as i32));
    assert_eq!(running.wait_for_exit(&fixture).status.signal(), Some(Signal::SIGINT as i32));
}

/// OpenSSH sets its files to non-blocking mode, which affects all processes that share them.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn files_of_the_caller_stay_blocking() {
    let fixture = fixture().with_known_host();
    let port = format!("--ssh-port={}", fixture.port);
    let (input, typed) = std::io::pipe().unwrap();
    let (mut received, output) = std::io::pipe().unwrap();
    let mut command = fixture.program.command(&[&["ssh", &port, "feedbeef"], &SLEEP[..]].concat());
    command.stdin(input.try_clone().unwrap()).stdout(output.try_clone().unwrap()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    received.read_exact(&mut [0; 3]).unwrap();
    for flags in [fcntl(&input, FcntlArg::F_GETFL), fcntl(&output, FcntlArg::F_GETFL)] {
        assert!(!OFlag::from_bits_retain(flags.unwrap()).contains(OFlag::O_NONBLOCK));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    drop(typed);
}

/// More than all buffers, in both directions concurrently, until both end.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn large_transfers_in_both_directions() {
    let fixture = fixture().with_known_host();
    let port = format!("--ssh-port={}", fixture.port);
    let tunnel = format!("--tunnel=127.0.0.1:{}", fixture.port);
    let arguments = [&tunnel, "ssh", &port, "feedbeef", "cat"];
    let mut child = fixture.program.start(&arguments);
    let data: Vec<u8> = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
    let (mut input, expect) = (child.stdin.take().unwrap(), data.clone());
    let writing = std::thread::spawn(move || input.write_all(&data).unwrap());
    let mut got = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut got).unwrap();
    writing.join().unwrap();
    assert!(got == expect, "{} bytes of {}", got.len(), expect.len());
    assert!(child.wait().unwrap().success());
}
