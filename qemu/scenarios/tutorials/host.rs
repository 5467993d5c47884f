//! Programs of a user on the host: keelson, ssh keys, a discovery service.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use machines::backend::free_port;
use machines::cluster::HOST_NAME;
use machines::machine::Machine;

use crate::failure::{Failure, expect};
use crate::scenario::Context;

/// A program of the host serves within milliseconds.
const SERVES: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

pub fn failed(what: &str) -> impl Fn(std::io::Error) -> Failure + '_ {
    move |error| Failure::Expected(format!("{what}: {error}"))
}

/// A child process, killed when the scenario ends.
pub struct Running(Child);

impl Running {
    pub fn start(mut command: Command) -> Result<Self, Failure> {
        let program = command.get_program().to_string_lossy().into_owned();
        Ok(Self(command.stdin(Stdio::null()).spawn().map_err(failed(&program))?))
    }

    /// Reads the first line of its output.
    pub fn first_line(&mut self) -> Result<String, Failure> {
        let Some(stdout) = self.0.stdout.take() else { return Ok(String::new()) };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(failed("what the program prints"))?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have exited already; the scenario reports what that means.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Returns a command's output, or an error if it fails.
pub fn output(command: &mut Command) -> Result<String, Failure> {
    let program = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(failed(&program))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    expect(output.status.success(), &format!("{program} to succeed"), &format!("{text}{errors}"))?;
    Ok(text)
}

/// Creates a key pair in this folder; returns the private key's file and the public key's line.
pub fn new_key(folder: &Path) -> Result<(PathBuf, String), Failure> {
    let file = folder.join("own-key");
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "core@example", "-f"]).arg(&file);
    output(&mut command)?;
    let public = file.with_extension("pub");
    let line = std::fs::read_to_string(&public).map_err(failed("the public key"))?;
    Ok((file, line.trim().to_owned()))
}

/// An SSH agent without keys, and its socket in this folder.
pub fn agent(folder: &Path) -> Result<(Running, PathBuf), Failure> {
    let socket = folder.join("agent");
    let mut command = Command::new("ssh-agent");
    command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null());
    let agent = Running::start(command)?;
    let begun = Instant::now();
    while !socket.exists() {
        expect(begun.elapsed() < SERVES, "an SSH agent that serves", "no socket")?;
        std::thread::sleep(PAUSE);
    }
    Ok((agent, socket))
}

/// Runs a command by ssh as this user with only this key.
pub fn log_in(machine: &Machine<'_>, user: &str, key: &Path, command: &str) -> Result<String, Failure> {
    let mut ssh = Command::new("ssh");
    ssh.args([
        "-F",
        "/dev/null",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "IdentityAgent=none",
        "-o",
        "BatchMode=yes",
    ]);
    ssh.args([
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "LogLevel=ERROR",
    ]);
    ssh.arg("-i").arg(key).arg("-p").arg(machine.node()?.ssh_port.to_string());
    output(ssh.arg(format!("{user}@127.0.0.1")).arg(command))
}

/// A discovery service on the host, reachable from the machines.
pub struct Discovery {
    port: u16,
    _runs: Running,
}

impl Discovery {
    pub fn start(context: &Context<'_>) -> Result<Self, Failure> {
        let folder = context.site.layout().root().join("own-discovery");
        std::fs::create_dir_all(&folder).map_err(failed("the folder of the discovery service"))?;
        let port = free_port(0).map_err(failed("a free port"))?;
        let background = &context.run.background;
        let mut command = Command::new(&background.program);
        command.args(&background.discovery).arg(&folder).arg(port.to_string());
        let service = Self { port, _runs: Running::start(command)? };
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            expect(begun.elapsed() < SERVES, "a discovery service that serves", "no port that is open")?;
            std::thread::sleep(PAUSE);
        }
        context.site.expose_host_port(port)?;
        Ok(service)
    }

    /// Requests this path of the service and returns the body.
    pub fn open(&self, path: &str) -> Result<String, Failure> {
        let mut stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(failed("the discovery service"))?;
        let port = self.port;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {HOST_NAME}:{port}\r\nConnection: close\r\n\r\n")
            .map_err(failed("the discovery service"))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(failed("the discovery service"))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        expect(head.starts_with("HTTP/1.1 200 "), "an answer", &answer)?;
        Ok(body.to_owned())
    }
}
