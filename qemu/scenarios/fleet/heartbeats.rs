//! Units that record when they run, in a folder that the machines share with the test. This detects a unit that
//! runs on two machines at a time, whatever each machine believes.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::failure::{Failure, expect};

/// Guest path of the shared folder.
pub const FOLDER: &str = "/home/core/beats";

/// The `[Service]` section of such a unit. Each process writes the time to a separate file, five times a second.
/// The file's name stays unique across reboots, which reuse process ids. The process keeps running while it is
/// being stopped: starting the unit elsewhere too early is detected. `read` with a timeout replaces `sleep`, which
/// would fork each time, slowly on emulated machines.
pub const SERVICE: &str = "\
[Service]
ExecStart=/usr/bin/bash -c 'exec 3<> <(:); while :; do echo $$EPOCHREALTIME; read -t 0.2 -u 3; done \
  >>/home/core/beats/%n,%m,$$INVOCATION_ID-$$$$'
ExecStop=/usr/bin/sleep 0.5
";

/// A process that wrote within this time is alive: clocks of emulated machines differ by a second.
const FRESH: Duration = Duration::from_secs(4);
/// Interval of polling the folder.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// One process of a unit, with times of the machine's clock since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub unit: String,
    pub machine: String,
    pub process: String,
    pub first: Duration,
    pub last: Duration,
}

impl Run {
    /// Parses a file's name and content; `None` if the file has no complete line yet.
    fn read(name: &str, content: &str) -> Option<Self> {
        let [unit, machine, process] = name.split(',').collect::<Vec<_>>().try_into().ok()?;
        let mut times = content.split_inclusive('\n').filter_map(|line| time(line.strip_suffix('\n')?));
        let first = times.next()?;
        let last = times.next_back().unwrap_or(first);
        Some(Self { unit: unit.into(), machine: machine.into(), process: process.into(), first, last })
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.unit == other.unit && self.first <= other.last && other.first <= self.last
    }

    fn is_alive(&self, now: Duration) -> bool {
        self.last + FRESH >= now
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unit, machine, process, first, last } = self;
        let seconds = Duration::as_secs_f64;
        write!(f, "{unit} on {machine:.8} as {process} from {:.3} to {:.3}", seconds(first), seconds(last))
    }
}

/// `1700000000.123456`
fn time(text: &str) -> Option<Duration> {
    let (seconds, micros) = text.split_once('.')?;
    Some(Duration::from_secs(seconds.parse().ok()?) + Duration::from_micros(micros.parse().ok()?))
}

/// Returns pairs of overlapping runs of the same unit.
pub fn doubles(runs: &[Run]) -> Vec<(&Run, &Run)> {
    let pairs = runs.iter().enumerate().flat_map(|(index, run)| {
        let later = runs.iter().skip(index + 1);
        later.filter(|other| run.overlaps(other)).map(move |other| (run, other))
    });
    pairs.collect()
}

fn listed<'a>(runs: impl IntoIterator<Item = &'a Run>) -> String {
    let lines: Vec<_> = runs.into_iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// The shared folder on the host.
pub struct Heartbeats {
    folder: PathBuf,
}

impl Heartbeats {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    pub fn runs(&self) -> Result<Vec<Run>, Failure> {
        let failed = |source| Failure::Disk { path: self.folder.clone(), source };
        let mut runs = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let content = std::fs::read_to_string(entry.path()).map_err(failed)?;
            runs.extend(Run::read(&entry.file_name().to_string_lossy(), &content));
        }
        runs.sort_by(|a, b| (&a.unit, a.first).cmp(&(&b.unit, b.first)));
        Ok(runs)
    }

    pub fn alive(&self) -> Result<Vec<Run>, Failure> {
        // The clock is read first: later writes then count as alive.
        let now = now();
        Ok(self.runs()?.into_iter().filter(|run| run.is_alive(now)).collect())
    }

    /// Waits until each of the units runs on one of the machines, and returns those runs.
    pub fn wait(&self, units: &[String], machines: &[&str], limit: Duration) -> Result<Vec<Run>, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            let is_wanted = |run: &Run| units.contains(&run.unit) && machines.contains(&run.machine.as_str());
            let alive: Vec<_> = self.alive()?.into_iter().filter(is_wanted).collect();
            if units.iter().all(|unit| alive.iter().any(|run| run.unit == *unit)) {
                return Ok(alive);
            }
            if Instant::now() > deadline {
                let expected =
                    format!("{} to run on {} within {limit:?}", units.join(" "), machines.join(" "));
                return expect(false, &expected, &listed(&self.runs()?)).map(|()| alive);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits until this unit runs twice at a time, and returns all runs until then.
    pub fn wait_for_a_double(&self, unit: &str, limit: Duration) -> Result<Vec<Run>, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            let runs = self.runs()?;
            if doubles(&runs).iter().any(|(one, _)| one.unit == unit) {
                return Ok(runs);
            }
            let expected = format!("{unit} to run twice at a time");
            expect(Instant::now() < deadline, &expected, &listed(&runs))?;
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Checks that each of the units has moved to another machine.
    pub fn moved(&self, units: &[String]) -> Result<(), Failure> {
        let runs = self.runs()?;
        for unit in units {
            let places: BTreeSet<_> =
                runs.iter().filter(|run| run.unit == *unit).map(|run| &run.machine).collect();
            expect(
                places.len() > 1,
                &format!("{unit} to have moved"),
                &format!("{} machines", places.len()),
            )?;
        }
        Ok(())
    }

    /// Pairs of consecutive runs of a unit on the same machine.
    pub fn in_place(&self) -> Result<Vec<(Run, Run)>, Failure> {
        let runs = self.runs()?;
        let next = runs.iter().zip(runs.iter().skip(1));
        let same = next.filter(|(one, next)| one.unit == next.unit && one.machine == next.machine);
        Ok(same.map(|(one, next)| (one.clone(), next.clone())).collect())
    }

    /// Checks that no unit ever ran on two machines at a time, nor twice on one.
    pub fn never_twice(&self) -> Result<(), Failure> {
        let runs = self.runs()?;
        let doubles = doubles(&runs);
        let found: Vec<_> = doubles.iter().map(|(one, other)| listed([*one, *other])).collect();
        expect(doubles.is_empty(), "no unit to run twice at a time", &found.join(" | "))
    }

    /// Checks that these runs are still alive and are the only ones.
    pub fn undisturbed(&self, before: &[Run], when: &str) -> Result<(), Failure> {
        let alive = self.alive()?;
        let key = |run: &Run| (run.unit.clone(), run.machine.clone(), run.process.clone());
        let mut started: Vec<_> = before.iter().map(key).collect();
        let mut found: Vec<_> = alive.iter().map(key).collect();
        started.sort();
        found.sort();
        let expected = format!("{when} the same processes as before: {}", listed(before));
        expect(started == found, &expected, &listed(&alive))
    }
}

/// The host's clock, which containers share.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, times: &[&str]) -> Run {
        Run::read(name, &times.iter().map(|time| format!("{time}\n")).collect::<String>()).unwrap()
    }

    #[test]
    fn a_file_is_one_run() {
        let got = run("beat@1.service,8145ebb7,12", &["100.000001", "100.200000", "101.500000"]);
        assert_eq!(got.to_string(), "beat@1.service on 8145ebb7 as 12 from 100.000 to 101.500");
        assert_eq!(Run::read("a.service,m,1", "100.00"), None, "its line is not whole");
        let cut = Run::read("a.service,m,1", "100.000000\n100.200000\n10").unwrap();
        assert_eq!(cut.last, Duration::from_millis(100_200), "the machine's plug was pulled");
        assert_eq!(Run::read("else", "100.000000\n"), None);
    }

    #[test]
    fn overlapping_runs_are_found() {
        let check = |others: &[Run], expect: usize| {
            let one = run("a.service,m,1", &["100.000000", "110.000000"]);
            let all: Vec<_> = [one].into_iter().chain(others.iter().cloned()).collect();
            assert_eq!(doubles(&all).len(), expect, "{}", listed(&all));
        };
        check(&[], 0);
        check(&[run("a.service,n,1", &["110.000001", "120.000000"])], 0);
        check(&[run("a.service,n,1", &["109.900000", "120.000000"])], 1);
        check(&[run("a.service,n,1", &["103.000000", "104.000000"])], 1);
        check(&[run("a.service,n,1", &["110.000000"])], 1);
        // Overlaps on the same machine count too, but only of the same unit.
        check(&[run("a.service,m,2", &["103.000000"]), run("b.service,n,1", &["103.000000"])], 1);
    }
}
