//! What `up` shows while machines boot: how far each has come.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use machines::console::Phase;
use machines::ready;
use machines::site::Event;

/// Machines of which the line tells.
const SHOWN_MAX: usize = 4;
/// Where there is no terminal, a machine that is still in the same phase is told of again after this time.
const TOLD_AGAIN: Duration = Duration::from_secs(30);

/// What is known of machines while they boot.
pub struct Boots {
    total: usize,
    pub started: usize,
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
    pub fn new(total: usize, ready: usize) -> Self {
        Self { total, ready, started: 0, waiting: Vec::new() }
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
            let (shown, _) = boot.stage();
            line += &format!("  {} {shown}", boot.node);
        }
        line
    }

    /// What has changed since the last call, a line each, for where no line can be changed.
    pub fn news(&mut self) -> Vec<String> {
        let ready = format!("{} of {} ready", self.ready, self.total);
        let mut lines = Vec::new();
        for boot in &mut self.waiting {
            let (shown, kind) = boot.stage();
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
    fn stage(&mut self) -> (String, String) {
        let Some(starting) = ready::starting(&self.ready) else {
            let phase = Phase::of(&self.console, self.from).to_string();
            return (phase.clone(), phase);
        };
        self.jobs = self.jobs.max(starting.jobs);
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
        let mut boots = Boots::new(2, 1);
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
        boots.note(Event::Ready { node: "core-01".into(), after: Duration::ZERO });
        assert_eq!((boots.line().as_str(), boots.news().len()), ("2 of 2 ready", 0));
    }
}
