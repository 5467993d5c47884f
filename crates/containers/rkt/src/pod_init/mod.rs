//! The first process of a pod's PID namespace: mounts the apps' root file systems, starts the apps, forwards signals,
//! reaps processes. It ends with `rkt run`, and all processes of the pod end with it.

mod apps;
mod mounts;
mod started;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_dumpable, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal};
use pod::Uuid;

use crate::pod_folder::PodFolder;
use crate::pods::RUN;

pub use started::STARTED;

/// How `rkt run` calls it; no command of users.
pub const COMMAND: &str = "__pod";
/// The FIFO by which `rkt run` lets it start the apps.
pub const GO: &str = "go";

/// Signals that stop a pod or are forwarded to its apps.
pub fn signal_set() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2]
        .into_iter()
        .collect()
}

/// Runs the pod and returns its exit code.
pub fn run(path: &Path) -> anyhow::Result<u8> {
    set_pdeathsig(Signal::SIGKILL).context("cannot bind the pod to rkt")?;
    // Apps that may trace processes do not reach the host's files by this one.
    set_dumpable(false).context("cannot close the pod's first process")?;
    let uuid: Uuid = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().parse()?;
    let folder = PodFolder { uuid, stage: RUN.to_owned(), path: path.to_owned() };
    let _lock = folder.lock_as_init()?;
    let mut signals = apps::signals()?;
    signal_set().thread_unblock().context("cannot unblock signals")?;
    wait_for_go(path)?;
    let manifest = folder.manifest()?;
    let mut namespaces = CloneFlags::CLONE_NEWNS;
    if !manifest.fly {
        namespaces |= CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    }
    unshare(namespaces).context("cannot create namespaces")?;
    if !manifest.fly {
        nix::unistd::sethostname(manifest.hostname()).context("cannot set the host name")?;
    }
    let paths = mounts::prepare(&folder, &manifest)?;
    apps::run(&folder, &manifest, &paths, &mut signals)
}

/// Waits until `rkt run` has prepared the network. It may have been killed before the signal of its end was set: then
/// nobody has the FIFO open for writing. A read shows that; a poll waits without an end if nobody had when this process
/// opened it.
fn wait_for_go(path: &Path) -> anyhow::Result<()> {
    let fifo = path.join(GO);
    let opened = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&fifo);
    let mut go = opened.with_context(|| format!("cannot open {}", fifo.display()))?;
    loop {
        match go.read(&mut [0]) {
            Ok(0) => bail!("rkt ended before the pod started"),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("cannot wait for rkt"),
        }
        match poll(&mut [PollFd::new(go.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for rkt"),
        }
    }
    std::fs::remove_file(&fifo).with_context(|| format!("cannot remove {}", fifo.display()))
}
