//! Detects whether a booting node makes progress: new console lines, changes in the boot report of `keelson-ready`,
//! and, while it is silent, processor time, since kernel and initrd print nothing.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::processor_use::Interval;
use crate::{console, limits, ready};

/// Polled by the waiting thread. A line that was seen before does not count, digits aside: a boot loop or a service
/// that restarts forever makes no progress.
pub struct BootProgress {
    console: PathBuf,
    ready: PathBuf,
    /// Console offset up to which it was read.
    read: u64,
    seen: HashSet<String>,
    /// Processor time since the last output.
    silent: Duration,
}

impl BootProgress {
    /// Only console output from now on counts.
    pub fn from_now(console: &Path, ready: &Path) -> Self {
        let read = std::fs::metadata(console).map_or(0, |data| data.len());
        let (console, ready, seen) = (console.to_owned(), ready.to_owned(), HashSet::new());
        Self { console, ready, read, seen, silent: Duration::ZERO }
    }

    /// Whether the node has new output since the last call, or was silently busy in `interval`.
    pub fn advanced(&mut self, interval: Option<Interval>) -> bool {
        let text = self.has_new_lines();
        if text {
            self.silent = Duration::ZERO;
        }
        text || interval.is_some_and(|interval| self.is_silently_busy(interval))
    }

    /// Whether the machine was busy, and has not been silent for too long.
    fn is_silently_busy(&mut self, interval: Interval) -> bool {
        if !interval.is_busy() {
            return false;
        }
        self.silent += interval.used;
        self.silent < limits::CPU_SILENT_MAX
    }

    fn has_new_lines(&mut self) -> bool {
        let text = console::plain(&self.new_bytes());
        let console_lines =
            text.lines().filter(|line| !line.trim().is_empty() && console::parse_job(line).is_none());
        let mut lines: Vec<String> = console_lines.map(strip_digits).collect();
        // In boot reports the numbers count.
        if let Some(ready::BootReport { jobs, running, status, .. }) = ready::boot_report(&self.ready) {
            lines.push(format!("{jobs} {running:?}"));
            // A service that retries counts its attempts in its status text.
            lines.extend(status.map(|status| strip_digits(&status.text)));
        }
        let mut advanced = false;
        for line in lines {
            if self.seen.len() < limits::PROGRESS_LINES_MAX {
                advanced |= self.seen.insert(line);
            }
        }
        advanced
    }

    /// After a reset the machine may repeat its output.
    pub fn machine_reset(&mut self) {
        self.seen.clear();
    }

    fn new_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Ok(mut file) = File::open(&self.console) else { return bytes };
        let length = file.metadata().map_or(0, |data| data.len());
        // The log limiter discards the middle of a long log, which makes it shorter.
        let from = if length < self.read { 0 } else { self.read };
        let from = from.max(length.saturating_sub(limits::TAIL_BYTES));
        self.read = length;
        if file.seek(SeekFrom::Start(from)).is_err()
            || file.take(limits::TAIL_BYTES).read_to_end(&mut bytes).is_err()
        {
            bytes.clear();
        }
        bytes
    }
}

fn strip_digits(line: &str) -> String {
    line.chars().filter(|char| !char.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn progress(&self) -> BootProgress {
            BootProgress::from_now(&self.at("console"), &self.at("ready"))
        }

        fn add(&self, name: &str, text: &str) {
            let mut file = File::options().create(true).append(true).open(self.at(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
    }

    #[test]
    fn new_lines_are_progress_and_repeated_lines_are_not() {
        let machine = Machine(tempfile::tempdir().unwrap());
        machine.add("console", "of the boot before\n");
        let mut progress = machine.progress();
        assert!(!progress.advanced(None));
        for (text, expected) in [
            ("[ 1.2] systemd[1]: begins\r\n", true),
            ("[ 7.3] systemd[1]: begins\r\n", false),
            ("\r\n", false),
            ("[ *** ] A start job is running for Wait for Network (12s / no limit)\r", false),
            ("core-01 login: ", true),
        ] {
            machine.add("console", text);
            assert_eq!(progress.advanced(None), expected, "{text:?}");
            assert!(!progress.advanced(None), "{text:?}");
        }
        progress.machine_reset();
        machine.add("console", "[ 1.2] systemd[1]: begins\r\n");
        assert!(progress.advanced(None));
    }

    /// Otherwise a machine whose discovery service is unreachable would never time out.
    #[test]
    fn a_retrying_service_is_not_progress() {
        let machine = Machine(tempfile::tempdir().unwrap());
        let mut progress = machine.progress();
        let mut report = |jobs: usize, text: &str| {
            let status = format!("{{\"unit\":\"etcd.service\",\"text\":\"{text}\"}}");
            let line = format!(
                "{{\"state\":\"starting\",\"jobs\":{jobs},\"running\":[\"etcd.service\"],\"status\":{status}}}\n"
            );
            machine.add("ready", &line);
            progress.advanced(None)
        };
        assert!(report(5, "retrying in 4s"));
        assert!(!report(5, "retrying in 8s"));
        assert!(report(5, "found 1 peer(s)"));
        assert!(report(4, "retrying in 16s"), "another job has ended");
    }

    #[test]
    fn silent_processor_time_is_progress_up_to_the_limit() {
        let machine = Machine(tempfile::tempdir().unwrap());
        let mut progress = machine.progress();
        let second = Duration::from_secs(1);
        let of = |used| Interval { elapsed: 2 * second, used, delayed: Duration::ZERO };
        assert!(!progress.is_silently_busy(of(second / 10)));
        let silent = limits::CPU_SILENT_MAX.as_secs();
        assert_eq!((0..silent).filter(|_| progress.is_silently_busy(of(second))).count() as u64, silent - 1);
        assert!(!progress.is_silently_busy(of(second)));
        machine.add("console", "something new\n");
        assert!(progress.advanced(None));
        assert!(progress.is_silently_busy(of(second)));
    }

    #[test]
    fn fewer_jobs_are_progress() {
        let machine = Machine(tempfile::tempdir().unwrap());
        let mut progress = machine.progress();
        for (jobs, expected) in [(9, true), (9, false), (8, true), (9, false), (8, false), (7, true)] {
            machine.add(
                "ready",
                &format!("{{\"state\":\"starting\",\"jobs\":{jobs},\"running\":[\"a.service\"]}}\n"),
            );
            assert_eq!(progress.advanced(None), expected, "{jobs}");
        }
    }
}
