//! Runs a pod in the foreground: starts its first process in new namespaces, forwards signals to it, and waits.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::Context as _;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use pod::NetworkMode;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::pod_init::{self, COMMAND, GO, STARTED};
use crate::pods::{Pods, RUN};
use crate::prepare::Prepared;
use crate::{exit_code, times};
use crate::{limits, network};

const SIGNALS: [i32; 7] = [SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2];
/// systemd's, of units with `Type=notify`.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Runs a prepared pod to its end and returns its exit code.
pub fn run(pods: &Pods, prepared: Prepared) -> anyhow::Result<u8> {
    let Prepared { mut folder, lock, trees, manifest } = prepared;
    // From here on no signal is lost.
    let mut signals = Signals::new(SIGNALS).context("cannot handle signals")?;
    pods.move_to(&mut folder, RUN)?;
    limits::prepare(&manifest)?;
    let lowers: Vec<String> = trees.iter().map(|tree| tree.rootfs().display().to_string()).collect();
    folder.write("trees", serde_json::to_string(&lowers)?.as_bytes())?;
    // Its end shows the first process that this one ended.
    let mut go = create_fifo(&folder.path.join(GO))?;
    let started = match std::env::var_os(NOTIFY_SOCKET) {
        Some(_) => Some(create_fifo(&folder.path.join(STARTED))?),
        None => None,
    };
    let mut child = spawn(&folder.path, manifest.network, manifest.interactive)?;
    let pid = Pid::from_raw(i32::try_from(child.id()).context("process ID")?);
    let mut start = || {
        folder.write("pid", format!("{pid}\n").as_bytes())?;
        let attachment = network::attach(pods, &manifest, pid.as_raw())
            .with_context(|| format!("cannot connect the pod to the network {}", manifest.network))?;
        if !attachment.description.is_empty() {
            folder.write("networks", attachment.description.as_bytes())?;
        }
        go.write_all(b"1").context("cannot start the pod")?;
        anyhow::Ok(attachment)
    };
    let attachment = match start() {
        Ok(attachment) => attachment,
        Err(error) => {
            child.kill().context("cannot end the pod")?;
            child.wait().context("cannot end the pod")?;
            return Err(error);
        }
    };
    if let Some(started) = started {
        // systemd accepts notifications of the unit's main process only.
        std::thread::spawn(move || notify_when(started));
    }
    let status = supervise(&mut child, pid, &mut signals)?;
    attachment.detach()?;
    folder.write("finished", times::now().to_string().as_bytes())?;
    drop((lock, trees));
    Ok(exit_code::of(status))
}

/// A FIFO opened for both, so that neither side waits for the other.
fn create_fifo(path: &Path) -> anyhow::Result<File> {
    mkfifo(path, Mode::from_bits_truncate(0o600))
        .with_context(|| format!("cannot create {}", path.display()))?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

/// Notifies systemd once the apps have started. The thread ends with the process if they never do.
fn notify_when(mut started: File) {
    if started.read_exact(&mut [0]).is_ok() {
        service::notify::ready("the apps have started");
    }
}

/// The first process of the pod's PID namespace: if it ends, for whatever reason, the kernel ends all of them.
fn spawn(folder: &Path, network: NetworkMode, interactive: bool) -> anyhow::Result<Child> {
    let mut flags = CloneFlags::CLONE_NEWPID;
    if network != NetworkMode::Host {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    let open = |name: &str| {
        File::open(format!("/proc/self/ns/{name}")).with_context(|| format!("cannot open ns/{name}"))
    };
    let (own_pid, own_net) = (open("pid")?, open("net")?);
    unshare(flags).context("cannot create namespaces (rkt needs root)")?;
    let mut command = Command::new("/proc/self/exe");
    // The runtime would wait for a notification of the app.
    command.arg(COMMAND).arg(folder).env_remove(NOTIFY_SOCKET);
    if !interactive {
        command.stdin(Stdio::null());
    }
    // Inherited: the kernel drops signals to the first process of a namespace that has no handler for them yet.
    let blocked = pod_init::signal_set();
    blocked.thread_block().context("cannot block signals")?;
    let child = command.spawn().context("cannot start the pod's first process");
    blocked.thread_unblock().context("cannot unblock signals")?;
    // Later children of this process are the host's again.
    setns(&own_pid, CloneFlags::CLONE_NEWPID).context("cannot leave the PID namespace")?;
    setns(&own_net, CloneFlags::CLONE_NEWNET).context("cannot leave the network namespace")?;
    child
}

fn supervise(child: &mut Child, pid: Pid, signals: &mut Signals) -> anyhow::Result<ExitStatus> {
    loop {
        for signal in signals.wait() {
            if signal == SIGCHLD {
                if let Some(status) = child.try_wait().context("cannot wait for the pod")? {
                    return Ok(status);
                }
                continue;
            }
            if matches!(signal, SIGTERM | SIGINT | SIGQUIT) {
                service::notify::stopping();
            }
            let signal = Signal::try_from(signal).context("signal")?;
            // It has not been waited for: the ID is still its own.
            kill(pid, signal).context("cannot signal the pod")?;
        }
    }
}
