//! Runs commands on a node with OpenSSH's client and the cluster's key.
//!
//! The user's ssh configuration and known hosts are neither read nor written. Host keys are not checked: keelson
//! itself started what listens on the loopback port, and `keelson-reset` gives a node new keys.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::{Node, fnv};
use crate::limits;
use crate::process::Process;
use crate::ready;
use crate::store::Layout;

/// The image's login user.
pub const USER: &str = "core";

/// `ssh OPTIONS [extra...] core@127.0.0.1`, to which a remote command may be added.
#[must_use]
pub fn command(layout: &Layout, node: &Node, extra: &[String]) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "/dev/null", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no"]);
    ssh.args(["-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60", "-o", "PasswordAuthentication=no"]);
    ssh.args(["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=6"]);
    ssh.args(["-o", "UserKnownHostsFile=/dev/null"]);
    ssh.arg("-i").arg(layout.key()).arg("-p").arg(node.ssh_port.to_string());
    ssh.args(extra).arg(format!("{USER}@127.0.0.1"));
    ssh
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot run ssh (package openssh-client)")]
    Spawn(#[source] io::Error),
    #[error("the SSH connection failed")]
    Io(#[source] io::Error),
    #[error("{command:?} did not exit within {} s", .limit.as_secs())]
    TimedOut { command: String, limit: Duration },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    Own,
    /// One connection for all commands of a boot (OpenSSH's multiplexing): saves the login, which takes most of a
    /// second on an emulated node.
    Shared,
}

/// The path differs for each boot, since a connection to an earlier boot hangs until its keep-alive fails. `None` if
/// the path is too long for a socket.
fn shared_socket(layout: &Layout, node: &Node) -> Option<PathBuf> {
    let files = layout.node(&node.name);
    let boot = fnv(&format!("{:?} {:?}", node.process, ready::mark(&files.ready())));
    let socket = files.root().join(format!("ssh-{:08x}", boot & 0xffff_ffff));
    (socket.as_os_str().len() + limits::SSH_SOCKET_SUFFIX <= limits::SOCKET_PATH_MAX).then_some(socket)
}

fn sharing(socket: &Path) -> Vec<String> {
    // ssh expands `%` in a path.
    let socket = socket.display().to_string().replace('%', "%%");
    let persist = format!("ControlPersist={}", limits::SSH_PERSIST.as_secs());
    let options = ["ControlMaster=auto".to_owned(), format!("ControlPath=\"{socket}\""), persist];
    options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect()
}

/// Runs a shell command on a node with `input` as its standard input. Exit code 255 is ssh's own failure.
pub fn run(
    layout: &Layout,
    node: &Node,
    over: Connection,
    shell: &str,
    input: &[u8],
    limit: Duration,
) -> Result<Output, RunError> {
    let mut options = vec!["-T".to_owned(), "-o".to_owned(), "BatchMode=yes".to_owned()];
    let socket = (over == Connection::Shared).then(|| shared_socket(layout, node)).flatten();
    options.extend(socket.iter().flat_map(|socket| sharing(socket)));
    let mut ssh = command(layout, node, &options);
    ssh.arg(shell).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn().map_err(RunError::Spawn)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
    let deadline = Instant::now() + limit;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command need not read its input.
            drop(stdin.map(|mut stdin| stdin.write_all(input)));
        });
        let out = scope.spawn(move || text(stdout));
        let err = scope.spawn(move || text(stderr));
        let ended = Process::of(pid).is_none_or(|process| process.wait(limit.min(limits::COMMAND * 60)));
        if !ended || Instant::now() > deadline + limits::KILL {
            child.kill().map_err(RunError::Io)?;
            child.wait().map_err(RunError::Io)?;
            if socket.is_some() {
                close_connection(layout, node, &options);
            }
            return Err(RunError::TimedOut { command: shell.to_owned(), limit });
        }
        let status = child.wait().map_err(RunError::Io)?;
        let joined = |thread: std::thread::ScopedJoinHandle<'_, io::Result<String>>| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a reader panicked"))).map_err(RunError::Io)
        };
        Ok(Output { code: status.code().unwrap_or(255), stdout: joined(out)?, stderr: joined(err)? })
    })
}

/// Closes a shared connection. Its process keeps the output of a killed command open, so a reader would wait until
/// the remote command exits.
fn close_connection(layout: &Layout, node: &Node, options: &[String]) {
    let mut ssh = command(layout, node, &[options, &["-O".to_owned(), "exit".to_owned()]].concat());
    ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = ssh.status() {
        eprintln!("cannot close the connection to {}: {error}", node.name);
    }
}

fn text(stream: Option<impl Read>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Cluster, ClusterSpec, tests::image};

    #[test]
    fn each_boot_has_its_own_connection() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), "a").unwrap();
        let mut node = Cluster::new("a", &ClusterSpec::default(), image()).nodes.remove(0);
        let ready = layout.node(&node.name).ready();
        std::fs::create_dir_all(ready.parent().unwrap()).unwrap();
        let mut sockets = Vec::new();
        for line in ["", "{\"state\":\"running\"}\n", "{\"state\":\"restarting\"}\n"] {
            let before = std::fs::read_to_string(&ready).unwrap_or_default();
            std::fs::write(&ready, before + line).unwrap();
            sockets.push(shared_socket(&layout, &node).unwrap());
            assert_eq!(shared_socket(&layout, &node).as_ref(), sockets.last(), "it is the boot's");
        }
        node.process = Some(Process { pid: 7, started: 9 });
        sockets.push(shared_socket(&layout, &node).unwrap());
        sockets.sort();
        sockets.dedup();
        assert_eq!(sockets.len(), 4, "{sockets:?}");
    }

    #[test]
    fn too_long_socket_paths_are_not_used() {
        let node = Cluster::new("a", &ClusterSpec::default(), image()).nodes.remove(0);
        let socket = |length: usize| {
            let layout = Layout::new(&Path::new("/").join("x".repeat(length)), "a").unwrap();
            shared_socket(&layout, &node)
        };
        assert!(socket(20).is_some());
        assert_eq!(socket(70), None);
    }

    #[test]
    fn control_paths_are_escaped() {
        let options = sharing(Path::new("/a b/100%/ssh-1"));
        assert_eq!(options[3], "ControlPath=\"/a b/100%%/ssh-1\"");
    }
}
