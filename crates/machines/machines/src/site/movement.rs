//! Whether a node that is waited for comes any further: what it shows on its console, what `keelson-ready` says of the
//! jobs of its boot, and, while it shows nothing, whether it is at work: kernel and initrd are quiet.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::{console, limits, ready};

/// Read in small steps by whoever waits. A line that was shown before is no movement, numbers aside: a boot that begins
/// again and again, or a service that is restarted forever, comes no further.
pub struct Movement {
    console: PathBuf,
    ready: PathBuf,
    /// Up to where the console was read.
    read: u64,
    seen: HashSet<String>,
    work: Work,
}

/// The processor time of the node's process.
struct Work {
    process: Process,
    last: (Instant, Duration),
    /// Since something was shown.
    unseen: Duration,
}

impl Movement {
    /// What the console has from now on counts.
    pub fn from_now(console: &Path, ready: &Path, process: Process) -> Self {
        let read = std::fs::metadata(console).map_or(0, |data| data.len());
        let (console, ready, seen) = (console.to_owned(), ready.to_owned(), HashSet::new());
        Self { console, ready, read, seen, work: Work::from_now(process) }
    }

    /// Whether anything was shown since the last look that was not shown before, or the node is at work without a word.
    pub fn has_moved(&mut self) -> bool {
        let shown = self.has_shown();
        if shown {
            self.work.unseen = Duration::ZERO;
        }
        shown || self.work.goes_on()
    }

    fn has_shown(&mut self) -> bool {
        let shown = console::plain(&self.new_bytes());
        let of_console = shown.lines().filter(|line| !line.trim().is_empty() && console::job(line).is_none());
        let mut lines: Vec<String> = of_console.map(without_numbers).collect();
        // Their numbers are what counts of these.
        if let Some(ready::Starting { jobs, running, status, .. }) = ready::starting(&self.ready) {
            lines.push(format!("{jobs} {running:?}"));
            // A service that tries again and again counts its attempts.
            lines.extend(status.map(|status| without_numbers(&status.text)));
        }
        let mut moved = false;
        for line in lines {
            if self.seen.len() < limits::MOVEMENTS_MAX {
                moved |= self.seen.insert(line);
            }
        }
        moved
    }

    /// It was reset: what it showed before it may show again.
    pub fn begins_again(&mut self) {
        self.seen.clear();
    }

    fn new_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Ok(mut file) = File::open(&self.console) else { return bytes };
        let length = file.metadata().map_or(0, |data| data.len());
        // The middle of a long log is left out now and then, which makes it shorter.
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

impl Work {
    fn from_now(process: Process) -> Self {
        let last = (Instant::now(), process.processor_time().unwrap_or_default());
        Self { process, last, unseen: Duration::ZERO }
    }

    /// Whether it took a good share of a processor since the last look, and not yet more than a boot needs without
    /// showing anything.
    fn goes_on(&mut self) -> bool {
        let (at, before) = self.last;
        let passed = at.elapsed();
        if passed < limits::WORK_LOOK {
            return false;
        }
        let Some(now) = self.process.processor_time() else { return false };
        self.last = (Instant::now(), now);
        self.is_work(passed, now.saturating_sub(before))
    }

    fn is_work(&mut self, passed: Duration, taken: Duration) -> bool {
        if taken < passed.mul_f64(limits::WORK_SHARE) {
            return false;
        }
        self.unseen += taken;
        self.unseen < limits::WORK_UNSEEN
    }
}

fn without_numbers(line: &str) -> String {
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

        fn movement(&self) -> Movement {
            let own = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
            Movement::from_now(&self.at("console"), &self.at("ready"), own)
        }

        fn add(&self, name: &str, text: &str) {
            let mut file = File::options().create(true).append(true).open(self.at(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
    }

    #[test]
    fn what_is_new_is_movement_and_what_comes_again_is_none() {
        let machine = Machine(tempfile::tempdir().unwrap());
        machine.add("console", "of the boot before\n");
        let mut movement = machine.movement();
        assert!(!movement.has_moved());
        for (text, expected) in [
            ("[ 1.2] systemd[1]: begins\r\n", true),
            ("[ 7.3] systemd[1]: begins\r\n", false),
            ("\r\n", false),
            ("[ *** ] A start job is running for Wait for Network (12s / no limit)\r", false),
            ("core-01 login: ", true),
        ] {
            machine.add("console", text);
            assert_eq!(movement.has_moved(), expected, "{text:?}");
            assert!(!movement.has_moved(), "{text:?}");
        }
        movement.begins_again();
        machine.add("console", "[ 1.2] systemd[1]: begins\r\n");
        assert!(movement.has_moved());
    }

    /// Else a machine whose discovery service never answers would never be given up.
    #[test]
    fn a_service_that_tries_again_and_again_is_no_movement() {
        let machine = Machine(tempfile::tempdir().unwrap());
        let mut movement = machine.movement();
        let mut says = |jobs: usize, text: &str| {
            let status = format!("{{\"unit\":\"etcd.service\",\"text\":\"{text}\"}}");
            let line = format!(
                "{{\"state\":\"starting\",\"jobs\":{jobs},\"running\":[\"etcd.service\"],\"status\":{status}}}\n"
            );
            machine.add("ready", &line);
            movement.has_moved()
        };
        assert!(says(5, "retrying in 4s"));
        assert!(!says(5, "retrying in 8s"));
        assert!(says(5, "found 1 peer(s)"));
        assert!(says(4, "retrying in 16s"), "another job has ended");
    }

    #[test]
    fn work_without_a_word_is_movement_for_a_while() {
        let machine = Machine(tempfile::tempdir().unwrap());
        let mut movement = machine.movement();
        let second = Duration::from_secs(1);
        assert!(!movement.work.is_work(10 * second, second / 2), "who waits takes so much, too");
        let unseen = limits::WORK_UNSEEN.as_secs();
        assert_eq!(
            (0..unseen).filter(|_| movement.work.is_work(2 * second, second)).count() as u64,
            unseen - 1
        );
        assert!(!movement.work.is_work(2 * second, second));
        machine.add("console", "something new\n");
        assert!(movement.has_moved());
        assert!(movement.work.is_work(2 * second, second));
    }

    #[test]
    fn fewer_jobs_are_movement() {
        let machine = Machine(tempfile::tempdir().unwrap());
        let mut movement = machine.movement();
        for (jobs, expected) in [(9, true), (9, false), (8, true), (9, false), (8, false), (7, true)] {
            machine.add(
                "ready",
                &format!("{{\"state\":\"starting\",\"jobs\":{jobs},\"running\":[\"a.service\"]}}\n"),
            );
            assert_eq!(movement.has_moved(), expected, "{jobs}");
        }
    }
}
