//! The background process of an nspawn node: it mounts the node's root, makes its network, runs nspawn
//! in a terminal of its own, starts it again when the node reboots, and carries the forwarded ports.
//!
//! It must never outlive the node, and the node never outlives it (`warden`).

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::libc;

use super::group::Group;
use super::plan::{Guest, NodePlan};
use super::warden::Warden;
use super::{doors, inside, tap};
use crate::logs::KEEPER_BOOTS;
use crate::process::Process;
use crate::store::replace;
use crate::tools::Tools;

/// nspawn's exit code for "start me again": the guest has rebooted.
const REBOOTED: i32 = 133;
/// Terminals that may watch a console at the same time.
const WATCHERS_MAX: usize = 16;
/// How long one of them may take a line, while the node's own output waits.
const WATCHER_PATIENCE: Duration = Duration::from_millis(500);

/// Runs the node that `file` describes until it is switched off; returns its exit code.
pub fn run(file: &Path) -> io::Result<i32> {
    let keeper: NodePlan = serde_json::from_slice(&std::fs::read(file)?)?;
    inside::mount_root(&keeper)?;
    let console = Console::open(&keeper)?;
    let group = Group::make(&keeper.tree.with_file_name("groups"), &keeper.group)?;
    let namespace = doors::Shared::default();
    for forward in &keeper.forwards {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, forward.host))?;
        let (target, namespace) = ((keeper.address, forward.guest), Arc::clone(&namespace));
        std::thread::spawn(move || doors::inward(&listener, target, &namespace));
    }
    loop {
        let made = tap::make(&keeper.mac)?;
        let carrier = tap::carry(&made.tap, keeper.lan_socket.clone())?;
        let descriptor = Arc::new(made.descriptor);
        *namespace.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&descriptor));
        let outward = doors::outward(&descriptor, &keeper.services)?;
        remove(&keeper.host.join("ready.json"))?;
        console.note(KEEPER_BOOTS)?;
        let status = std::thread::scope(|scope| {
            let booted = scope.spawn(|| boot(&keeper, &console, &descriptor, &group)).join();
            booted.unwrap_or_else(|_| Err(io::Error::other("the thread of the boot panicked")))
        })?;
        // The namespace of this boot goes; a reboot begins with a new one.
        drop((carrier, outward));
        if status.code() != Some(REBOOTED) {
            return Ok(status.code().or(status.signal()).unwrap_or(1));
        }
    }
}

/// One boot, on a thread of its own.
fn boot(keeper: &NodePlan, console: &Console, namespace: &OwnedFd, group: &Group) -> io::Result<ExitStatus> {
    let _warden = Warden::of_this_thread()?;
    let mut command = nspawn(keeper, namespace)?;
    Warden::show_processes(&mut command);
    let namespace = namespace.as_raw_fd();
    let members = group.members();
    let terminal = || console.terminal.try_clone();
    command.stdin(terminal()?).stdout(terminal()?).stderr(terminal()?);
    // SAFETY: system calls on integers and a constant only, between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for file in &members {
                if libc::write(*file, c"0".as_ptr().cast(), 1) != 1 {
                    return Err(io::Error::last_os_error());
                }
            }
            // nspawn gets the network namespace by this number, and has the terminal as its own.
            if libc::fcntl(namespace, libc::F_SETFD, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            nix::unistd::setsid()?;
            if libc::ioctl(0, libc::TIOCSCTTY, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    record(keeper, &child)?;
    child.wait()
}

fn record(keeper: &NodePlan, child: &Child) -> io::Result<()> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let Some(nspawn) = Process::of(pid) else { return Ok(()) };
    replace(&keeper.guest, &serde_json::to_vec(&Guest { nspawn })?)
}

/// nspawn's command line. Capabilities and system calls are those that docker needs inside.
fn nspawn(keeper: &NodePlan, namespace: &OwnedFd) -> io::Result<Command> {
    let mut command = Tools::open(&keeper.tools, &[keeper.folder().to_path_buf()])
        .and_then(|tools| tools.command("systemd-nspawn"))
        .map_err(io::Error::other)?;
    command.args(["--quiet", "--boot", "--register=no", "--keep-unit", "--console=interactive"]);
    command.args(["--resolv-conf=off", "--timezone=off", "--link-journal=no", "--settings=no"]);
    command.arg(format!("--machine={}", keeper.machine)).arg(format!("--hostname={}", keeper.host_name));
    command.arg(format!("--uuid={}", keeper.uuid));
    command.arg("--directory").arg(&keeper.tree);
    command.arg(format!("--network-namespace-path=/proc/self/fd/{}", namespace.as_raw_fd()));
    command.args(["--capability=all", "--system-call-filter=add_key keyctl bpf"]);
    command.arg(format!("--bind-ro={}:/media/configdrive", colons(&keeper.config_drive)));
    command.arg(format!("--bind={}:/run/keelson/host", colons(&keeper.host)));
    for (place, folder) in keeper.shared.iter().enumerate() {
        command.arg(format!("--bind={}:{}", colons(&keeper.shown(place)), folder.guest));
    }
    for (name, file) in &keeper.secrets {
        command.arg(format!("--load-credential={name}:{}", file.display()));
    }
    for (name, content) in &keeper.credentials {
        let content = content.replace('\\', "\\\\").replace('\n', "\\n");
        command.arg(format!("--set-credential={name}:{content}"));
    }
    command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1").env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network");
    Ok(command)
}

fn colons(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:")
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The node's terminal: its output goes to the log and to whoever watches.
struct Console {
    terminal: File,
    log: File,
}

impl Console {
    fn open(keeper: &NodePlan) -> io::Result<Self> {
        let pair = nix::pty::openpty(None, None)?;
        let (master, terminal) = (File::from(pair.master), File::from(pair.slave));
        let log = File::options().create(true).append(true).open(&keeper.console_log)?;
        let own = log.try_clone()?;
        remove(&keeper.console_socket)?;
        let listener = UnixListener::bind(&keeper.console_socket)?;
        let watchers: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
        let (output, shown) = (master.try_clone()?, Arc::clone(&watchers));
        std::thread::spawn(move || show(output, log, &shown));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let Ok(input) = stream.try_clone() else { continue };
                let mut all = watchers.lock().unwrap_or_else(PoisonError::into_inner);
                if all.len() < WATCHERS_MAX {
                    all.push(stream);
                    let Ok(mut keys) = master.try_clone() else { continue };
                    std::thread::spawn(move || drop(io::copy(&mut &input, &mut keys)));
                }
            }
        });
        Ok(Self { terminal, log: own })
    }

    /// Writes into the log only.
    fn note(&self, line: &str) -> io::Result<()> {
        (&self.log).write_all(line.as_bytes())
    }
}

fn show(mut output: File, mut log: File, watchers: &Mutex<Vec<UnixStream>>) {
    let mut buffer = [0; 4096];
    while let Ok(count) = output.read(&mut buffer) {
        if count == 0 {
            return;
        }
        if let Err(error) = log.write_all(&buffer[..count]) {
            eprintln!("console log: {error}");
        }
        let mut all = watchers.lock().unwrap_or_else(PoisonError::into_inner);
        // The node waits for its console: a terminal that stands still is let go.
        all.retain_mut(|watcher| {
            watcher.set_write_timeout(Some(WATCHER_PATIENCE)).is_ok()
                && watcher.write_all(&buffer[..count]).is_ok()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_nobody_reads_does_not_hold_up_the_node() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (output, mut node) = std::io::pipe().unwrap();
        let (watcher, _stopped) = UnixStream::pair().unwrap();
        let watchers = Arc::new(Mutex::new(vec![watcher]));
        let log = File::create(&path).unwrap();
        let (ended, end) = std::sync::mpsc::channel();
        let all = Arc::clone(&watchers);
        std::thread::spawn(move || {
            show(File::from(OwnedFd::from(output)), log, &all);
            ended.send(()).unwrap();
        });
        // More than a socket and a pipe hold.
        let said = vec![b'x'; 4 << 20];
        let writer = std::thread::spawn(move || node.write_all(&said).unwrap());
        end.recv_timeout(Duration::from_secs(60)).expect("the node is still writing");
        writer.join().unwrap();
        assert_eq!(path.metadata().unwrap().len(), 4 << 20);
        assert!(watchers.lock().unwrap().is_empty());
    }
}
