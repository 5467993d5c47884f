//! Starts the apps of a pod and waits for them.
//!
//! The pod ends when all apps have exited, or one has failed; its exit code is that of the first failed app. A signal
//! that stops the pod stops the apps, each with its image's signal.

use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use pod::PodManifest;
use signal_hook::consts::{SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::started;
use crate::pod_folder::PodFolder;
use crate::{crun, exit_code, limits, times};

/// From the signal that stops an app to the end of the pod.
const STOP_TIME: Duration = Duration::from_secs(30);

pub fn signals() -> anyhow::Result<Signals> {
    let all = [SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM];
    Signals::new(all).context("cannot handle signals")
}

struct RunningApp {
    name: String,
    pid: Pid,
    stop_signal: Signal,
    status: Option<u8>,
}

struct Supervisor<'a> {
    folder: &'a PodFolder,
    apps: Vec<RunningApp>,
    /// The status of the first app that failed, while the pod was not being stopped.
    failed: Option<u8>,
    /// When the apps were stopped.
    stopping: Option<Instant>,
    /// The runtime of an app with a terminal.
    _foreground: Option<Child>,
}

pub fn run(
    folder: &PodFolder,
    manifest: &PodManifest,
    bundles: &[PathBuf],
    signals: &mut Signals,
) -> anyhow::Result<u8> {
    let mut supervisor =
        Supervisor { folder, apps: Vec::new(), failed: None, stopping: None, _foreground: None };
    for (app, bundle) in manifest.apps.iter().zip(bundles) {
        let start = || {
            if !manifest.interactive {
                return crun::start(&folder.path, bundle, &app.name);
            }
            let mut command = crun::command(&folder.path);
            let child = command.arg("run").arg("--bundle").arg(bundle).arg(&app.name).spawn();
            let child = child.with_context(crun::not_started)?;
            let pid = i32::try_from(child.id()).context("process ID")?;
            supervisor._foreground = Some(child);
            Ok(pid)
        };
        let pid = limits::start(app, start)?;
        let stop_signal = Signal::try_from(i32::from(app.stop_signal)).unwrap_or(Signal::SIGTERM);
        let pid = Pid::from_raw(pid);
        supervisor.apps.push(RunningApp { name: app.name.clone(), pid, stop_signal, status: None });
    }
    folder.write("started", times::now().to_string().as_bytes())?;
    started::report(&folder.path)?;
    supervisor.wait(signals)
}

impl Supervisor<'_> {
    fn wait(&mut self, signals: &mut Signals) -> anyhow::Result<u8> {
        loop {
            // Also processes that exited before the signal had a handler.
            self.reap()?;
            if self.apps.iter().all(|app| app.status.is_some()) {
                return Ok(self.failed.unwrap_or(0));
            }
            if self.stopping.is_some_and(|since| since.elapsed() >= STOP_TIME) {
                eprintln!("rkt: apps did not exit within {} s and are killed", STOP_TIME.as_secs());
                self.record_killed()?;
                return Ok(self.failed.unwrap_or(0));
            }
            for signal in signals.wait() {
                match signal {
                    SIGCHLD | SIGALRM => {}
                    SIGTERM | SIGINT | SIGQUIT => self.stop()?,
                    other => self.forward(Signal::try_from(other).context("signal")?)?,
                }
            }
        }
    }

    fn reap(&mut self) -> anyhow::Result<()> {
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(status) => status,
                Err(Errno::ECHILD) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error).context("cannot wait for apps"),
            };
            let (pid, code) = match status {
                WaitStatus::Exited(pid, code) => (pid, code),
                WaitStatus::Signaled(pid, signal, _) => (pid, exit_code::SIGNALED + signal as i32),
                WaitStatus::StillAlive => return Ok(()),
                _ => continue,
            };
            let Some(app) = self.apps.iter_mut().find(|app| app.pid == pid && app.status.is_none()) else {
                continue;
            };
            let status = u8::try_from(code).unwrap_or(u8::MAX);
            app.status = Some(status);
            let name = app.name.clone();
            self.folder.write_status(&name, status)?;
            if status != 0 && self.stopping.is_none() {
                self.failed = self.failed.or(Some(status));
                self.stop()?;
            }
        }
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        if self.stopping.is_some() {
            return Ok(());
        }
        self.stopping = Some(Instant::now());
        let seconds = u32::try_from(STOP_TIME.as_secs()).context("time")?;
        // Interrupts the wait for signals when the time is over.
        nix::unistd::alarm::set(seconds);
        for app in self.apps.iter().filter(|app| app.status.is_none()) {
            signal(app.pid, app.stop_signal)?;
        }
        Ok(())
    }

    fn forward(&self, to_forward: Signal) -> anyhow::Result<()> {
        self.apps.iter().filter(|app| app.status.is_none()).try_for_each(|app| signal(app.pid, to_forward))
    }

    fn record_killed(&mut self) -> anyhow::Result<()> {
        let code = u8::try_from(exit_code::SIGNALED + Signal::SIGKILL as i32).unwrap_or(u8::MAX);
        self.apps
            .iter()
            .filter(|app| app.status.is_none())
            .try_for_each(|app| self.folder.write_status(&app.name, code))
    }
}

/// The process has not been waited for, so the ID is still its own.
fn signal(pid: Pid, signal: Signal) -> anyhow::Result<()> {
    match kill(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot send {signal} to process {pid}")),
    }
}
