//! The background process of an nspawn node: mounts the node's root, runs nspawn on a terminal, connects the node's
//! network, restarts nspawn when the node reboots, and forwards ports.
//!
//! It exits with the node, and the node is killed with it (`pid_namespace`).

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;

use super::control_group::Group;
use super::notifications::Notifications;
use super::pid_namespace::PidNamespace;
use super::plan::{self, NodePlan};
use super::root_mounts::{self, CONFIG_DRIVE};
use crate::cluster::BackendKind;
use crate::guest::Guest;
use crate::logs::CONTAINER_BOOT_LINE;
use crate::network::port_forward::{self, CurrentNamespace, HostForwards};
use crate::network::tap::{self, TapRelay};
use crate::network::uplink::Uplink;
use crate::pidfd::PidFd;
use crate::process::{Frozen, Process};
use crate::tools::Tools;

/// nspawn's exit code if the guest requested a reboot.
const REBOOTED: i32 = 133;
/// Number of terminals that may be attached to a console.
const WATCHERS_MAX: usize = 16;
/// How long a slow terminal may block the node's output.
const WATCHER_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs the node described in `file` until it powers off; returns its exit code.
pub fn run(file: &Path) -> io::Result<i32> {
    let plan: NodePlan = serde_json::from_slice(&std::fs::read(file)?)?;
    root_mounts::mount_root(&plan)?;
    let console = Console::open(&plan)?;
    let group = Group::create(&plan.tree.with_file_name("groups"), &plan.group)?;
    let namespace = CurrentNamespace::default();
    for forward in &plan.forwards {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, forward.host))?;
        let (target, namespace) = ((plan.address, forward.guest), Arc::clone(&namespace));
        std::thread::spawn(move || port_forward::forward_to_node(&listener, target, &namespace));
    }
    loop {
        remove(&plan.host.join("ready.json"))?;
        console.log_line(CONTAINER_BOOT_LINE)?;
        let status = boot(&plan, &console, &group, &namespace)?;
        if status.code() != Some(REBOOTED) {
            return Ok(status.code().or(status.signal()).unwrap_or(1));
        }
    }
}

/// Runs the node until it powers off or reboots. Its network exists before its init runs.
fn boot(
    plan: &NodePlan,
    console: &Console,
    group: &Group,
    namespace: &CurrentNamespace,
) -> io::Result<ExitStatus> {
    std::thread::scope(|scope| {
        let (sender, started) = std::sync::mpsc::channel();
        let nspawn = scope.spawn(move || run_nspawn(plan, console, group, &sender));
        // Nothing is received if nspawn exits before.
        let network = started.recv().ok().map(|init: Init| {
            let started = Network::start(plan, &init, namespace).and_then(|network| {
                let guest = Guest { process: init.nspawn, warnings: network.warnings.clone() };
                guest.write(&plan.guest)?;
                Ok(network)
            });
            if started.is_err() {
                init.kill()?;
            }
            started
        });
        let ended = nspawn.join().unwrap_or_else(|_| Err(io::Error::other("the thread of nspawn panicked")));
        // A reboot gets a new network namespace.
        *namespace.lock().unwrap_or_else(PoisonError::into_inner) = None;
        network.transpose().and(ended)
    })
}

/// The init of a guest, stopped until this value is dropped.
struct Init {
    nspawn: Process,
    process: Process,
    _stopped: Frozen,
}

impl Init {
    fn stop(nspawn: Process) -> io::Result<Option<Self>> {
        let Some(process) = plan::init(nspawn).and_then(Process::of) else { return Ok(None) };
        let stopped = process.freeze().map_err(io::Error::other)?;
        Ok(Some(Self { nspawn, process, _stopped: stopped }))
    }

    fn network_namespace(&self) -> io::Result<OwnedFd> {
        Ok(File::open(format!("/proc/{}/ns/net", self.process.pid))?.into())
    }

    fn kill(&self) -> io::Result<()> {
        self.process.signal(Signal::SIGKILL).map_err(io::Error::other)
    }
}

/// The connections of a node's network namespace to the LAN and the host.
struct Network {
    _lan: TapRelay,
    _services: HostForwards,
    _uplink: Option<Uplink>,
    /// What it lacks.
    warnings: Vec<String>,
}

impl Network {
    fn start(plan: &NodePlan, init: &Init, namespace: &CurrentNamespace) -> io::Result<Self> {
        let descriptor = Arc::new(init.network_namespace()?);
        let lan = tap::start_relay(tap::create(&descriptor, &plan.mac)?, plan.lan_socket.clone())?;
        let address = BackendKind::Nspawn.host_address();
        let services = port_forward::forward_to_host(&descriptor, address, &plan.services)?;
        let mut warnings = Vec::new();
        // A node without an uplink still serves its cluster.
        let uplink = plan.outbound.then(|| Uplink::start(&plan.tools, &descriptor)).and_then(|started| {
            started.map_err(|error| warnings.push(error.without_uplink(&plan.node))).ok()
        });
        *namespace.lock().unwrap_or_else(PoisonError::into_inner) = Some(descriptor);
        Ok(Self { _lan: lan, _services: services, _uplink: uplink, warnings })
    }
}

/// Runs nspawn until it exits; sends the guest's init once it has started.
#[allow(unsafe_code, reason = "system calls between fork and exec")]
fn run_nspawn(
    plan: &NodePlan,
    console: &Console,
    group: &Group,
    started: &Sender<Init>,
) -> io::Result<ExitStatus> {
    let _pid_namespace = PidNamespace::enter_on_this_thread()?;
    let notifications = Notifications::listen(&plan.folder().join("notify.sock"))?;
    let mut command = nspawn(plan)?;
    command.env("NOTIFY_SOCKET", notifications.path());
    PidNamespace::mount_proc(&mut command);
    let process_files = group.process_files();
    let terminal = || console.terminal.try_clone();
    command.stdin(terminal()?).stdout(terminal()?).stderr(terminal()?);
    // SAFETY: only system calls on integers and a constant between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for file in &process_files {
                if libc::write(*file, c"0".as_ptr().cast(), 1) != 1 {
                    return Err(io::Error::last_os_error());
                }
            }
            // The terminal becomes nspawn's controlling terminal.
            nix::unistd::setsid()?;
            if libc::ioctl(0, libc::TIOCSCTTY, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    if let Some(nspawn) = Process::of(pid) {
        let descriptor = PidFd::open(pid)?;
        if notifications.wait_until_ready(&descriptor)?
            && let Some(init) = Init::stop(nspawn)?
        {
            // The receiver waits for one message.
            drop(started.send(init));
        }
        notifications.discard_until_exit(&descriptor)?;
    }
    child.wait()
}

/// Capabilities that act on the host's kernel as a whole: its clock, modules, memory, log and security modules.
const OF_THE_HOST: &str = "CAP_SYS_TIME,CAP_SYS_MODULE,CAP_SYS_RAWIO,CAP_SYS_PACCT,CAP_SYSLOG,CAP_MAC_ADMIN,\
    CAP_MAC_OVERRIDE,CAP_WAKE_ALARM,CAP_BLOCK_SUSPEND";

/// nspawn's command line. The other capabilities and the system calls are those that docker needs.
fn nspawn(plan: &NodePlan) -> io::Result<Command> {
    let mut command = Tools::open(&plan.tools, &[plan.folder().to_path_buf()])
        .and_then(|tools| tools.command("systemd-nspawn"))
        .map_err(io::Error::other)?;
    command.args(["--quiet", "--boot", "--register=no", "--keep-unit", "--console=interactive"]);
    command.args(["--resolv-conf=off", "--timezone=off", "--link-journal=no", "--settings=no"]);
    command.arg(format!("--machine={}", plan.machine)).arg(format!("--hostname={}", plan.host_name));
    command.arg(format!("--uuid={}", plan.uuid));
    command.arg("--directory").arg(&plan.tree);
    command.arg("--private-network");
    if let Some(range) = plan.user_namespace {
        command.arg(format!("--private-users={range}")).arg("--private-users-ownership=off");
        command.arg(format!("--bind={}:/run/keelson/sysfs", escape_bind_path(&plan.sysfs())));
    }
    command.args(["--capability=all", &format!("--drop-capability={OF_THE_HOST}")]);
    command.arg("--system-call-filter=add_key keyctl bpf");
    command.arg(format!("--bind-ro={}:{CONFIG_DRIVE}", escape_bind_path(&plan.config_drive)));
    command.arg(format!("--bind={}:/run/keelson/host", escape_bind_path(&plan.host)));
    for (index, folder) in plan.shared.iter().enumerate() {
        command.arg(format!("--bind={}:{}", escape_bind_path(&plan.shared_mount_point(index)), folder.guest));
    }
    for (name, file) in &plan.secrets {
        command.arg(format!("--load-credential={name}:{}", file.display()));
    }
    for (name, content) in &plan.credentials {
        let content = content.replace('\\', "\\\\").replace('\n', "\\n");
        command.arg(format!("--set-credential={name}:{content}"));
    }
    command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1").env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network");
    Ok(command)
}

fn escape_bind_path(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:")
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The node's terminal: its output goes to the log and to attached terminals.
struct Console {
    terminal: File,
    log: File,
}

impl Console {
    fn open(plan: &NodePlan) -> io::Result<Self> {
        let pair = nix::pty::openpty(None, None)?;
        let (master, terminal) = (File::from(pair.master), File::from(pair.slave));
        let log = File::options().create(true).append(true).open(&plan.console_log)?;
        let own = log.try_clone()?;
        remove(&plan.console_socket)?;
        let listener = UnixListener::bind(&plan.console_socket)?;
        let watchers: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
        let (output, attached) = (master.try_clone()?, Arc::clone(&watchers));
        std::thread::spawn(move || copy_output(output, log, &attached));
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

    /// Writes to the log only.
    fn log_line(&self, line: &str) -> io::Result<()> {
        (&self.log).write_all(line.as_bytes())
    }
}

fn copy_output(mut output: File, mut log: File, watchers: &Mutex<Vec<UnixStream>>) {
    let mut buffer = [0; 4096];
    while let Ok(count) = output.read(&mut buffer) {
        if count == 0 {
            return;
        }
        if let Err(error) = log.write_all(&buffer[..count]) {
            eprintln!("console log: {error}");
        }
        let mut all = watchers.lock().unwrap_or_else(PoisonError::into_inner);
        // The node blocks on its console: a stalled terminal is detached.
        all.retain_mut(|watcher| {
            watcher.set_write_timeout(Some(WATCHER_TIMEOUT)).is_ok()
                && watcher.write_all(&buffer[..count]).is_ok()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stalled_watcher_does_not_block_the_node() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (output, mut node) = std::io::pipe().unwrap();
        let (watcher, _stopped) = UnixStream::pair().unwrap();
        let watchers = Arc::new(Mutex::new(vec![watcher]));
        let log = File::create(&path).unwrap();
        let (ended, end) = std::sync::mpsc::channel();
        let all = Arc::clone(&watchers);
        std::thread::spawn(move || {
            copy_output(File::from(OwnedFd::from(output)), log, &all);
            ended.send(()).unwrap();
        });
        // More than the buffers of a socket and a pipe.
        let said = vec![b'x'; 4 << 20];
        let writer = std::thread::spawn(move || node.write_all(&said).unwrap());
        end.recv_timeout(Duration::from_secs(60)).expect("the node is still writing");
        writer.join().unwrap();
        assert_eq!(path.metadata().unwrap().len(), 4 << 20);
        assert!(watchers.lock().unwrap().is_empty());
    }
}
