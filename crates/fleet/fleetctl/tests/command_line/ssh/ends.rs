//! Processes and files of a connection: whatever ends it, none remain, and the caller's own are as they were.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Output, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;

use crate::program::transcript;
use crate::sshd::{Stage, wait_for};

/// A command that was started, in a process group of its own, and what it started.
struct Running {
    child: Child,
    descendants: Vec<u32>,
}

fn stage() -> Stage {
    let stage = Stage::new().with_agent().with_path("TMPDIR", "tmp");
    std::fs::create_dir(stage.path("tmp")).unwrap();
    stage
}

/// The name of a process, its state and its parent; `None` where it has exited.
fn process(id: u32) -> Option<(String, char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (name, rest) = stat.rsplit_once(')').unwrap();
    let mut fields = rest.split_whitespace();
    let state = fields.next().unwrap().chars().next().unwrap();
    Some((name.split_once('(').unwrap().1.to_owned(), state, fields.next().unwrap().parse().unwrap()))
}

/// A process that has exited stays in the list until its parent asks for the result.
fn runs(id: u32) -> bool {
    process(id).is_some_and(|(_, state, _)| state != 'Z')
}

/// The ids and names of the processes that `parent` started.
fn children(parent: u32) -> Vec<(u32, String)> {
    let names = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    let ids = names.filter_map(|name| name.to_string_lossy().parse::<u32>().ok());
    let all = ids.filter_map(|id| process(id).map(|(name, _, of)| (id, name, of)));
    all.filter(|(_, _, of)| *of == parent).map(|(id, name, _)| (id, name)).collect()
}

impl Running {
    fn start(stage: &Stage, words: &[&str]) -> Running {
        let child = stage.program.command(words).process_group(0).spawn().unwrap();
        Running { child, descendants: Vec::new() }
    }

    /// Until the command over there runs.
    fn up(&mut self) {
        let mut line = [0; 3];
        self.child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        assert_eq!(&line, b"up\n");
        self.look();
    }

    /// Until it has started `ssh`.
    fn connecting(&mut self) {
        let id = self.child.id();
        wait_for("ssh", || children(id).iter().any(|(_, name)| name == "ssh"));
        self.look();
    }

    fn look(&mut self) {
        self.descendants = children(self.child.id()).into_iter().map(|(id, _)| id).collect();
        assert!(self.descendants.len() >= 2, "ssh, and who removes its folder: {:?}", self.descendants);
    }

    fn ssh(&self) -> u32 {
        let all = children(self.child.id());
        all.iter().find(|(_, name)| name == "ssh").unwrap().0
    }

    /// Its end, after which nothing that it started runs or is left.
    fn ended(self, stage: &Stage) -> Output {
        let output = self.child.wait_with_output().unwrap();
        wait_for("the end of all", || !self.descendants.iter().any(|id| runs(*id)));
        wait_for("an empty folder", || std::fs::read_dir(stage.path("tmp")).unwrap().next().is_none());
        output
    }
}

fn send(signal: Signal, id: i32) {
    kill(Pid::from_raw(id), signal).unwrap();
}

const SLEEP: [&str; 4] = ["echo", "up;", "sleep", "60"];

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn a_session_whose_ssh_is_killed() {
    let stage = stage().known();
    let port = format!("--ssh-port={}", stage.port);
    let mut running = Running::start(&stage, &[&["ssh", &port, "feedbeef"], &SLEEP[..]].concat());
    running.up();
    send(Signal::SIGKILL, running.ssh() as i32);
    assert_eq!(
        transcript(&running.ended(&stage)),
        "err| Failed running command: ssh: the connection ended before the command did\nexit 255\n"
    );
}

/// The server's end of the connection.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn a_session_whose_server_goes_away() {
    let stage = stage().known();
    let port = format!("--ssh-port={}", stage.port);
    let order = "echo up; read order; kill -9 $PPID; sleep 60";
    let mut running = Running::start(&stage, &["ssh", &port, "feedbeef", order]);
    running.up();
    running.child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(
        transcript(&running.ended(&stage)),
        "err| Failed running command: ssh: the connection ended before the command did\nexit 255\n"
    );
}

/// Under nohup, and in the background of a shell, processes begin with these ignored, and so do their children.
fn end_by_signals() {
    for number in [Signal::SIGHUP, Signal::SIGINT] {
        // SAFETY: no handler is installed, and this process has none for either.
        unsafe { signal(number, SigHandler::SigDfl) }.unwrap();
    }
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn signals_leave_nothing() {
    end_by_signals();
    let stage = stage().known();
    let port = format!("--ssh-port={}", stage.port);
    let session = [&["ssh", &port, "feedbeef"], &SLEEP[..]].concat();
    let tunnel = format!("--tunnel=127.0.0.1:{}", stage.port);
    let hops = [&[tunnel.as_str()], &session[..]].concat();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("--ssh-port={}", silent.local_addr().unwrap().port());
    let connecting = ["ssh", &silent, "feedbeef", "true"];

    let ends = |words: &[&str], until: fn(&mut Running), signal: Signal, to_all: bool| {
        let mut running = Running::start(&stage, words);
        until(&mut running);
        let id = running.child.id() as i32;
        send(signal, if to_all { -id } else { id });
        let output = running.ended(&stage);
        assert_eq!(output.status.signal(), Some(signal as i32), "{words:?} {signal} {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?} {signal}");
    };
    for words in [&session, &hops] {
        // What a terminal sends goes to all processes of the group.
        ends(words, Running::up, Signal::SIGINT, true);
        ends(words, Running::up, Signal::SIGHUP, true);
        ends(words, Running::up, Signal::SIGTERM, false);
        ends(words, Running::up, Signal::SIGKILL, false);
    }
    ends(&connecting, Running::connecting, Signal::SIGINT, true);
    ends(&connecting, Running::connecting, Signal::SIGKILL, false);
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn a_signal_at_the_question() {
    end_by_signals();
    let stage = stage();
    let port = format!("--ssh-port={}", stage.port);
    let mut running = Running::start(&stage, &["ssh", &port, "feedbeef", "true"]);
    let mut asked = BufReader::new(running.child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("ED25519 key fingerprint is SHA256:") {
        line.clear();
        assert_ne!(asked.read_line(&mut line).unwrap(), 0);
    }
    running.descendants = children(running.child.id()).into_iter().map(|(id, _)| id).collect();
    send(Signal::SIGINT, -(running.child.id() as i32));
    assert_eq!(running.ended(&stage).status.signal(), Some(Signal::SIGINT as i32));
}

/// OpenSSH would set what it gets to non-blocking, for all who share it.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn files_of_the_caller_stay_as_they_are() {
    let stage = stage().known();
    let port = format!("--ssh-port={}", stage.port);
    let (input, typed) = std::io::pipe().unwrap();
    let (mut said, output) = std::io::pipe().unwrap();
    let mut command = stage.program.command(&[&["ssh", &port, "feedbeef"], &SLEEP[..]].concat());
    command.stdin(input.try_clone().unwrap()).stdout(output.try_clone().unwrap()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    said.read_exact(&mut [0; 3]).unwrap();
    for flags in [fcntl(&input, FcntlArg::F_GETFL), fcntl(&output, FcntlArg::F_GETFL)] {
        assert!(!OFlag::from_bits_retain(flags.unwrap()).contains(OFlag::O_NONBLOCK));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    drop(typed);
}

/// More than all buffers between them, in both directions at the same time, and the end of each.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn both_ways_at_the_same_time() {
    let stage = stage().known();
    let port = format!("--ssh-port={}", stage.port);
    let tunnel = format!("--tunnel=127.0.0.1:{}", stage.port);
    let words = [&tunnel, "ssh", &port, "feedbeef", "cat"];
    let mut child = stage.program.start(&words);
    let much: Vec<u8> = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
    let (mut input, expect) = (child.stdin.take().unwrap(), much.clone());
    let writing = std::thread::spawn(move || input.write_all(&much).unwrap());
    let mut got = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut got).unwrap();
    writing.join().unwrap();
    assert!(got == expect, "{} bytes of {}", got.len(), expect.len());
    assert!(child.wait().unwrap().success());
}
