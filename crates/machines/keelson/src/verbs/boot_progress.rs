//! Progress output while machines boot.

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

const REFRESH_INTERVAL: Duration = Duration::from_millis(250);

/// Number of machines in the progress line.
const LINE_MACHINES_MAX: usize = 4;
/// Without a terminal, an unchanged phase is repeated after this time.
const REPEAT_INTERVAL: Duration = Duration::from_secs(30);

/// Calls `run` and shows the machines' progress: in the line of `step` on a terminal, otherwise as lines. Returns the
/// result of `run` and the number of started machines.
pub fn with_boot_progress<T>(
    context: &Context,
    step: &Step,
    progress: BootProgress,
    run: &dyn Fn(Watcher<'_>) -> T,
) -> (T, usize) {
    let progress = Mutex::new(progress);
    let state = || progress.lock().unwrap_or_else(PoisonError::into_inner);
    let done = AtomicBool::new(false);
    let is_terminal = std::io::stderr().is_terminal();
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if is_terminal {
                    step.set(state().line());
                } else {
                    state().changes().iter().for_each(|line| context.progress.note(line));
                }
                std::thread::sleep(REFRESH_INTERVAL);
            }
        });
        let result = run(&|event| state().record(event));
        done.store(true, Ordering::Relaxed);
        result
    });
    let started = state().started;
    (result, started)
}

pub struct BootProgress {
    backend: BackendKind,
    total: usize,
    started: usize,
    ready: usize,
    waiting: Vec<Boot>,
}

struct Boot {
    node: String,
    console: PathBuf,
    /// Length of the console log when the machine was powered on.
    log_start: u64,
    ready: PathBuf,
    started_at: Instant,
    /// The highest number of jobs so far.
    jobs: usize,
    /// The last printed phase, without digits, and when it was printed.
    last_printed: (String, Instant),
}

impl BootProgress {
    /// `ready` of `total` machines were already running.
    pub fn new(backend: BackendKind, total: usize, ready: usize) -> Self {
        Self { backend, total, ready, started: 0, waiting: Vec::new() }
    }

    pub fn record(&mut self, event: Event) {
        match event {
            Event::Booting { node, console, ready, started } => {
                self.started += usize::from(started);
                // Reads the whole console log of a machine that was already running.
                let log_start =
                    if started { std::fs::metadata(&console).map_or(0, |data| data.len()) } else { 0 };
                let now = Instant::now();
                let last_printed = (String::new(), now);
                self.waiting.push(Boot {
                    node,
                    console,
                    log_start,
                    ready,
                    started_at: now,
                    jobs: 0,
                    last_printed,
                });
            }
            Event::Ready { node, .. } => {
                self.ready += 1;
                self.waiting.retain(|boot| boot.node != node);
            }
        }
    }

    /// The number of ready machines, and the phases of the first of the others.
    pub fn line(&mut self) -> String {
        let mut line = format!("{} of {} ready", self.ready, self.total);
        for boot in self.waiting.iter_mut().take(LINE_MACHINES_MAX) {
            let (text, _) = boot.phase(self.backend);
            line += &format!("  {} {text}", boot.node);
        }
        line
    }

    /// One line per machine whose phase has changed since the last call, for output without a terminal.
    pub fn changes(&mut self) -> Vec<String> {
        let ready = format!("{} of {} ready", self.ready, self.total);
        let mut lines = Vec::new();
        for boot in &mut self.waiting {
            let (text, kind) = boot.phase(self.backend);
            if boot.last_printed.0 != kind || boot.last_printed.1.elapsed() >= REPEAT_INTERVAL {
                let seconds = boot.started_at.elapsed().as_secs();
                lines.push(format!("{} {text} ({seconds} s; {ready})", boot.node));
                boot.last_printed = (kind, Instant::now());
            }
        }
        lines
    }
}

impl Boot {
    /// The phase for display, and without the parts that change constantly.
    fn phase(&mut self, backend: BackendKind) -> (String, String) {
        let Some(report) = ready::boot_report(&self.ready) else {
            let phase = match backend {
                BackendKind::Qemu => Phase::of(&self.console, self.log_start).to_string(),
                // Containers have no firmware and no kernel.
                BackendKind::Nspawn => "systemd".to_owned(),
            };
            return (phase.clone(), phase);
        };
        self.jobs = self.jobs.max(report.jobs);
        if let Some(ready::Status { unit, text }) = &report.status {
            let status = format!("{unit}: {text}");
            // Retries are counted in the text.
            let kind = status.chars().filter(|char| !char.is_ascii_digit()).collect();
            return (status, kind);
        }
        if let Some(unit) = report.running.iter().find(|unit| unit.contains("cloudinit")) {
            return (format!("provisioning: {unit}"), "provisioning".to_owned());
        }
        let first = report.running.first().map_or("", String::as_str);
        let done = self.jobs - report.jobs;
        (format!("unit {done} of {}: {first}", self.jobs), format!("units: {first}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_is_printed_once() {
        let folder = tempfile::tempdir().unwrap();
        let (console, ready) = (folder.path().join("console"), folder.path().join("ready"));
        let mut progress = BootProgress::new(BackendKind::Qemu, 2, 1);
        let (node, started) = ("core-01".to_owned(), true);
        progress.record(Event::Booting { node, console: console.clone(), ready: ready.clone(), started });
        assert_eq!(progress.changes(), ["core-01 firmware (0 s; 1 of 2 ready)"]);
        std::fs::write(&console, "BdsDxe: starting Boot0001\r\n").unwrap();
        assert_eq!(progress.changes(), ["core-01 kernel and initrd (0 s; 1 of 2 ready)"]);
        let report = |jobs: usize, unit: &str| {
            let line = format!("{{\"state\":\"starting\",\"jobs\":{jobs},\"running\":[\"{unit}\"]}}\n");
            std::fs::write(&ready, line).unwrap();
        };
        report(9, "user-cloudinit@a.service");
        assert_eq!(
            progress.changes(),
            ["core-01 provisioning: user-cloudinit@a.service (0 s; 1 of 2 ready)"]
        );
        report(8, "user-cloudinit@a.service");
        assert!(progress.changes().is_empty());
        report(3, "etcd.service");
        assert_eq!(progress.changes(), ["core-01 unit 6 of 9: etcd.service (0 s; 1 of 2 ready)"]);
        assert_eq!(progress.line(), "1 of 2 ready  core-01 unit 6 of 9: etcd.service");
        let status = "{\"state\":\"starting\",\"jobs\":3,\"running\":[\"a-cloudinit.service\",\"etcd.service\"],\
                      \"status\":{\"unit\":\"etcd.service\",\"text\":\"waiting for a majority\"}}\n";
        std::fs::write(&ready, status).unwrap();
        assert_eq!(progress.changes(), ["core-01 etcd.service: waiting for a majority (0 s; 1 of 2 ready)"]);
        assert_eq!(ready::boot_report(&ready).unwrap().unit(), Some("etcd.service"));
        progress.record(Event::Ready { node: "core-01".into(), after: Duration::ZERO });
        assert_eq!((progress.line().as_str(), progress.changes().len()), ("2 of 2 ready", 0));
    }
}
