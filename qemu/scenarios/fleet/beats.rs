//! Units that write down when they run, in a folder that the machines and the test share: a unit that runs on two
//! machines at a time is seen, also where each machine believes to be right.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::failure::{Failure, expect};

/// Where the folder stands on the machines.
pub const FOLDER: &str = "/home/core/beats";

/// The `[Service]` of such a unit. Each of its processes has a file of its own, also after a boot that gives their
/// numbers anew, and writes the time five times a second. It runs on while it is being stopped: who takes it for down
/// too early starts it too early elsewhere. It waits by reading what nobody writes: a `sleep` each time is a process, and
/// an emulated machine is slow at those.
pub const SERVICE: &str = "\
[Service]
ExecStart=/usr/bin/bash -c 'exec 3<> <(:); while :; do echo $$EPOCHREALTIME; read -t 0.2 -u 3; done \
  >>/home/core/beats/%n,%m,$$INVOCATION_ID-$$$$'
ExecStop=/usr/bin/sleep 0.5
";

/// What has written within this time runs: clocks of emulated machines differ by a second.
const FRESH: Duration = Duration::from_secs(4);
/// Between two looks into the folder.
const LOOK: Duration = Duration::from_millis(100);

/// One process of a unit; times are those of the machine's clock, since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub unit: String,
    pub machine: String,
    pub process: String,
    pub first: Duration,
    pub last: Duration,
}

impl Run {
    /// From a file's name and content; none of a file in which no whole line stands yet.
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

/// Runs of one unit at the same time.
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

/// The folder on this side.
pub struct Beats {
    folder: PathBuf,
}

impl Beats {
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
        // The clock first: what writes meanwhile is fresher than it.
        let now = now();
        Ok(self.runs()?.into_iter().filter(|run| run.is_alive(now)).collect())
    }

    /// Waits until each of the units runs on one of the machines; those runs.
    pub fn wait(&self, units: &[String], machines: &[&str], limit: Duration) -> Result<Vec<Run>, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            let there = |run: &Run| units.contains(&run.unit) && machines.contains(&run.machine.as_str());
            let alive: Vec<_> = self.alive()?.into_iter().filter(there).collect();
            if units.iter().all(|unit| alive.iter().any(|run| run.unit == *unit)) {
                return Ok(alive);
            }
            if Instant::now() > deadline {
                let wanted = format!("{} to run on {} within {limit:?}", units.join(" "), machines.join(" "));
                return expect(false, &wanted, &listed(&self.runs()?)).map(|()| alive);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until this unit runs twice at a time; all runs until then.
    pub fn wait_for_a_double(&self, unit: &str, limit: Duration) -> Result<Vec<Run>, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            let runs = self.runs()?;
            if doubles(&runs).iter().any(|(one, _)| one.unit == unit) {
                return Ok(runs);
            }
            let wanted = format!("{unit} to run twice at a time");
            expect(Instant::now() < deadline, &wanted, &listed(&runs))?;
            std::thread::sleep(LOOK);
        }
    }

    /// Each of the units has left a machine for another one.
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

    /// What ended on a machine and was started on the same one next.
    pub fn in_place(&self) -> Result<Vec<(Run, Run)>, Failure> {
        let runs = self.runs()?;
        let next = runs.iter().zip(runs.iter().skip(1));
        let same = next.filter(|(one, next)| one.unit == next.unit && one.machine == next.machine);
        Ok(same.map(|(one, next)| (one.clone(), next.clone())).collect())
    }

    /// No unit ever ran on two machines at a time, nor twice on one.
    pub fn never_twice(&self) -> Result<(), Failure> {
        let runs = self.runs()?;
        let doubles = doubles(&runs);
        let seen: Vec<_> = doubles.iter().map(|(one, other)| listed([*one, *other])).collect();
        expect(doubles.is_empty(), "no unit to run twice at a time", &seen.join(" | "))
    }

    /// Those runs went on to this moment, and there are no others that live.
    pub fn undisturbed(&self, before: &[Run], when: &str) -> Result<(), Failure> {
        let alive = self.alive()?;
        let key = |run: &Run| (run.unit.clone(), run.machine.clone(), run.process.clone());
        let mut wanted: Vec<_> = before.iter().map(key).collect();
        let mut seen: Vec<_> = alive.iter().map(key).collect();
        wanted.sort();
        seen.sort();
        let expected = format!("{when} the same processes as before: {}", listed(before));
        expect(wanted == seen, &expected, &listed(&alive))
    }
}

/// This side's clock; containers have the same.
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
    fn two_at_a_time_are_seen() {
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
        // On the same machine too, and only of the same unit.
        check(&[run("a.service,m,2", &["103.000000"]), run("b.service,n,1", &["103.000000"])], 1);
    }
}
