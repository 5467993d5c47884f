//! What is shown while machines boot: how far each has come.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use machines::cluster::BackendKind;
use machines::console::Phase;
use machines::ready;
use machines::site::{Event, Watcher};
use progress::Step;

use crate::context::Context;

/// How often the line of booting machines changes.
const SHOWN_EVERY: Duration = Duration::from_millis(250);

/// Machines of which the line tells.
const SHOWN_MAX: usize = 4;
/// Where there is no terminal, a machine that is still in the same phase is told of again after this time.
const TOLD_AGAIN: Duration = Duration::from_secs(30);

/// What `run` returns, and how many machines it started. How far they are is shown while it runs: as the line of
/// `step` in a terminal, else as lines.
pub fn shown<T>(context: &Context, step: &Step, boots: Boots, run: &dyn Fn(Watcher<'_>) -> T) -> (T, usize) {
    let boots = Mutex::new(boots);
    let state = || boots.lock().unwrap_or_else(PoisonError::into_inner);
    let done = AtomicBool::new(false);
    let is_terminal = std::io::stderr().is_terminal();
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if is_terminal {
                    step.set(state().line());
                } else {
                    state().news().iter().for_each(|line| context.progress.note(line));
                }
                std::thread::sleep(SHOWN_EVERY);
            }
        });
        let result = run(&|event| state().note(event));
        done.store(true, Ordering::Relaxed);
        result
    });
    let started = state().started;
    (result, started)
}

/// What is known of machines while they boot.
pub struct Boots {
    backend: BackendKind,
    total: usize,
    started: usize,
    ready: usize,
    waiting: Vec<Boot>,
}

/// A machine that is not ready.
struct Boot {
    node: String,
    console: PathBuf,
    /// How long the console was when the machine was switched on.
    from: u64,
    ready: PathBuf,
    since: Instant,
    /// The most jobs that it had.
    jobs: usize,
    /// What was last told of it, without numbers, and when.
    told: (String, Instant),
}

impl Boots {
    /// Of `total` machines `ready` ran before.
    pub fn new(backend: BackendKind, total: usize, ready: usize) -> Self {
        Self { backend, total, ready, started: 0, waiting: Vec::new() }
    }

    pub fn note(&mut self, event: Event) {
        match event {
            Event::Booting { node, console, ready, started } => {
                self.started += usize::from(started);
                // The console of one that runs already has its boot from somewhere in the middle on.
                let from = if started { std::fs::metadata(&console).map_or(0, |data| data.len()) } else { 0 };
                let now = Instant::now();
                let told = (String::new(), now);
                self.waiting.push(Boot { node, console, from, ready, since: now, jobs: 0, told });
            }
            Event::Ready { node, .. } => {
                self.ready += 1;
                self.waiting.retain(|boot| boot.node != node);
            }
        }
    }

    /// How many are ready, and how far the others are; where they are many, as many as a line has room for.
    pub fn line(&mut self) -> String {
        let mut line = format!("{} of {} ready", self.ready, self.total);
        for boot in self.waiting.iter_mut().take(SHOWN_MAX) {
            let (shown, _) = boot.stage(self.backend);
            line += &format!("  {} {shown}", boot.node);
        }
        line
    }

    /// What has changed since the last call, a line each, for where no line can be changed.
    pub fn news(&mut self) -> Vec<String> {
        let ready = format!("{} of {} ready", self.ready, self.total);
        let mut lines = Vec::new();
        for boot in &mut self.waiting {
            let (shown, kind) = boot.stage(self.backend);
            if boot.told.0 != kind || boot.told.1.elapsed() >= TOLD_AGAIN {
                let seconds = boot.since.elapsed().as_secs();
                lines.push(format!("{} {shown} ({seconds} s; {ready})", boot.node));
                boot.told = (kind, Instant::now());
            }
        }
        lines
    }
}

impl Boot {
    /// As it is shown, and without what changes all the time.
    fn stage(&mut self, backend: BackendKind) -> (String, String) {
        let Some(starting) = ready::boot_report(&self.ready) else {
            let phase = match backend {
                BackendKind::Qemu => Phase::of(&self.console, self.from).to_string(),
                // A container has neither firmware nor kernel.
                BackendKind::Nspawn => "systemd".to_owned(),
            };
            return (phase.clone(), phase);
        };
        self.jobs = self.jobs.max(starting.jobs);
        if let Some(ready::Status { unit, text }) = &starting.status {
            let shown = format!("{unit}: {text}");
            // Attempts are counted.
            let kind = shown.chars().filter(|char| !char.is_ascii_digit()).collect();
            return (shown, kind);
        }
        if let Some(unit) = starting.running.iter().find(|unit| unit.contains("cloudinit")) {
            return (format!("provisioning: {unit}"), "provisioning".to_owned());
        }
        let first = starting.running.first().map_or("", String::as_str);
        let done = self.jobs - starting.jobs;
        (format!("unit {done} of {}: {first}", self.jobs), format!("units: {first}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let (console, ready) = (folder.path().join("console"), folder.path().join("ready"));
        let mut boots = Boots::new(BackendKind::Qemu, 2, 1);
        let (node, started) = ("core-01".to_owned(), true);
        boots.note(Event::Booting { node, console: console.clone(), ready: ready.clone(), started });
        assert_eq!(boots.news(), ["core-01 firmware (0 s; 1 of 2 ready)"]);
        std::fs::write(&console, "BdsDxe: starting Boot0001\r\n").unwrap();
        assert_eq!(boots.news(), ["core-01 kernel and initrd (0 s; 1 of 2 ready)"]);
        let says = |jobs: usize, unit: &str| {
            let line = format!("{{\"state\":\"starting\",\"jobs\":{jobs},\"running\":[\"{unit}\"]}}\n");
            std::fs::write(&ready, line).unwrap();
        };
        says(9, "user-cloudinit@a.service");
        assert_eq!(boots.news(), ["core-01 provisioning: user-cloudinit@a.service (0 s; 1 of 2 ready)"]);
        says(8, "user-cloudinit@a.service");
        assert!(boots.news().is_empty());
        says(3, "etcd.service");
        assert_eq!(boots.news(), ["core-01 unit 6 of 9: etcd.service (0 s; 1 of 2 ready)"]);
        assert_eq!(boots.line(), "1 of 2 ready  core-01 unit 6 of 9: etcd.service");
        let status = "{\"state\":\"starting\",\"jobs\":3,\"running\":[\"a-cloudinit.service\",\"etcd.service\"],\
                      \"status\":{\"unit\":\"etcd.service\",\"text\":\"waiting for a majority\"}}\n";
        std::fs::write(&ready, status).unwrap();
        assert_eq!(boots.news(), ["core-01 etcd.service: waiting for a majority (0 s; 1 of 2 ready)"]);
        assert_eq!(ready::boot_report(&ready).unwrap().unit(), Some("etcd.service"));
        boots.note(Event::Ready { node: "core-01".into(), after: Duration::ZERO });
        assert_eq!((boots.line().as_str(), boots.news().len()), ("2 of 2 ready", 0));
    }
}
