//! One examination of this machine: rounds of all checks, until none is in the way or the time is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

use super::check::{Check, Kind, State};
use super::good::{self, GoodBoot};
use super::journal::{Journal, Priority};
use super::observe::Facts;
use super::report::{self, Health, Report};
use super::script::{self, Script};
use super::settings::Settings;
use super::{member, network, units, updater};
use crate::os_release;
use crate::ready;
use crate::root::Root;
use crate::systemd::AskError;

/// Between two rounds: short at first, since most of what is missing is a moment late. The last one stays.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];

/// What was found, in a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Healthy(String),
    Unhealthy(String),
}

pub struct Examination<'a> {
    root: &'a Root,
    settings: Settings,
    journal: &'a Journal,
    trial: bool,
    version: Option<String>,
    boot_id: String,
    good: Option<GoodBoot>,
    /// How often services were started again by the last look, on trial.
    restarts: BTreeMap<String, u32>,
    scripts: Vec<(Script, Option<Check>)>,
    /// What was said last of each check: only news is said again.
    said: BTreeMap<String, String>,
}

impl<'a> Examination<'a> {
    pub fn new(root: &'a Root, settings: Settings, journal: &'a Journal, trial: bool) -> Result<Self> {
        let (good, told) = good::read(root);
        if let Some(told) = told {
            journal.say(Priority::Warning, None, &told);
        }
        let scripts = script::find(root).context("can not read the folders of checks")?;
        Ok(Self {
            root,
            settings,
            journal,
            trial,
            version: os_release::value(root, "VERSION_ID"),
            boot_id: ready::boot_id(root)?,
            good,
            restarts: BTreeMap::new(),
            scripts: scripts.into_iter().map(|script| (script, None)).collect(),
            said: BTreeMap::new(),
        })
    }

    /// `observe` asks systemd, `pause` waits. A version on trial that passes has to pass again after a while.
    pub fn run(
        &mut self,
        mut observe: impl FnMut() -> Result<Facts, AskError>,
        mut pause: impl FnMut(Duration),
    ) -> Result<Verdict> {
        let mut deadline = Instant::now() + self.settings.limit;
        let mut to_settle = if self.trial { self.settings.settle } else { Duration::ZERO };
        self.write(Health::Checking, &[])?;
        for round in 0.. {
            let facts = observe();
            if let (0, Ok(facts)) = (round, &facts) {
                deadline = self.deadline(facts.started);
            }
            let restarted = facts.as_ref().map(|facts| self.restarted(&facts.restarts)).unwrap_or_default();
            if !restarted.is_empty() {
                // A service in a crash loop is active in between.
                to_settle = self.settings.settle;
            }
            let checks = self.round(facts.as_ref(), &restarted);
            match (report::why(&checks), facts) {
                (None, Ok(_)) if !to_settle.is_zero() => {
                    let seconds = to_settle.as_secs();
                    let line = format!(
                        "all is well; this version is on trial, so it is looked at again in {seconds} s"
                    );
                    self.journal.say(Priority::Info, None, &line);
                    self.write(Health::Checking, &checks)?;
                    let settle = std::mem::take(&mut to_settle);
                    pause(settle);
                    // On a slow machine the time may be over: the second check has time for retries as well.
                    deadline = deadline.max(Instant::now() + settle.min(self.settings.limit));
                    self.forget();
                    continue;
                }
                (None, Ok(facts)) => return self.healthy(&checks, &facts),
                (why, _) if Instant::now() >= deadline => {
                    self.write(Health::Unhealthy, &checks)?;
                    return Ok(Verdict::Unhealthy(why.unwrap_or_default()));
                }
                _ => self.write(Health::Checking, &checks)?,
            }
            let left = deadline.saturating_duration_since(Instant::now());
            pause(PAUSES[round.min(PAUSES.len() - 1)].min(left));
        }
        // invariant: the loop ends by a return only.
        unreachable!("the rounds have no end")
    }

    /// Since the last look.
    fn restarted(&mut self, restarts: &BTreeMap<String, u32>) -> Vec<String> {
        let grew =
            |(name, times): &(&String, &u32)| self.restarts.get(*name).is_some_and(|before| *times > before);
        let restarted = restarts.iter().filter(grew).map(|(name, _)| name.clone()).collect();
        self.restarts.clone_from(restarts);
        restarted
    }

    fn deadline(&self, started: Duration) -> Instant {
        let now = clock_gettime(ClockId::Monotonic);
        let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default());
        Instant::now() + self.settings.limit.saturating_sub(now.saturating_sub(started))
    }

    fn round(&mut self, facts: Result<&Facts, &AskError>, restarted: &[String]) -> Vec<Check> {
        let mut checks = match facts {
            Ok(facts) => vec![
                units::boot(&facts.target, &facts.target_state, &facts.jobs),
                units::check(self.good.as_ref(), &units::counted(&facts.failed_units), restarted),
                updater::check(facts.updater.as_ref()),
                member::check(self.root, facts.member.as_ref()),
                network::check(self.good.as_ref(), network::online(self.root)),
            ],
            Err(error) => vec![Check::new("systemd", State::Failed, causes::chain(error))],
        };
        for (script, last) in &mut self.scripts {
            let settled = last.as_ref().filter(|check| !check.is_in_the_way());
            let check = match settled {
                Some(check) => check.clone(),
                None => {
                    last.insert(run(script, self.settings.check_limit, self.journal, &mut self.said)).clone()
                }
            };
            checks.push(check);
        }
        for check in &checks {
            self.tell(check);
        }
        checks
    }

    /// Failures, once for each reason.
    fn tell(&mut self, check: &Check) {
        if check.state != State::Failed {
            self.said.remove(&check.name);
        } else if self.said.get(&check.name) != Some(&check.why) {
            let priority = match check.kind {
                Kind::Required => Priority::Warning,
                Kind::Wanted => Priority::Notice,
            };
            self.journal.say(priority, Some(&check.name), &format!("failed: {}", check.why));
            self.said.insert(check.name.clone(), check.why.clone());
        }
    }

    /// All checks run again.
    fn forget(&mut self) {
        for (_, last) in &mut self.scripts {
            *last = None;
        }
    }

    fn healthy(&self, checks: &[Check], facts: &Facts) -> Result<Verdict> {
        let boot = GoodBoot {
            version: self.version.clone(),
            boot_id: self.boot_id.clone(),
            failed_units: units::counted(&facts.failed_units),
            online: network::online(self.root),
        };
        // A full disk is no reason for a rollback: the other version has the same disk.
        if let Err(error) = good::write(self.root, &boot) {
            self.journal.say(Priority::Warning, None, &format!("cannot record this good boot: {error:#}"));
        }
        self.write(Health::Healthy, checks)?;
        let count = |state: State| checks.iter().filter(|check| check.state == state).count();
        let mut said = format!("this machine is healthy: {} checks passed", count(State::Passed));
        if count(State::Failed) > 0 {
            said.push_str(&format!("; {} that is only wanted failed", count(State::Failed)));
        }
        Ok(Verdict::Healthy(said))
    }

    fn write(&self, state: Health, checks: &[Check]) -> Result<()> {
        let report = Report {
            state,
            version: self.version.as_deref(),
            boot_id: &self.boot_id,
            trial: self.trial,
            why: report::why(checks),
            checks,
        };
        report::write(self.root, &report).context("can not write /run/keelson/health.json")
    }
}

/// Runs one; its lines are said where they are others than those of its last run.
fn run(script: &Script, limit: Duration, journal: &Journal, said: &mut BTreeMap<String, String>) -> Check {
    let check = |state, why: String| Check { kind: script.kind, ..Check::new(&script.name, state, why) };
    if !script.executable {
        return check(State::Skipped, format!("{} is not executable", script.path.display()));
    }
    let ran = script::run(&script.path, limit);
    let key = format!("{} output", script.name);
    if said.get(&key) != Some(&ran.output) {
        for line in ran.output.lines() {
            journal.say(Priority::Info, Some(&script.name), line);
        }
        said.insert(key, ran.output.clone());
    }
    let last = ran.output.lines().rfind(|line| !line.trim().is_empty());
    match (ran.failure, last) {
        (None, last) => check(State::Passed, last.unwrap_or_default().to_owned()),
        (Some(failure), Some(last)) => check(State::Failed, format!("{failure}: {last}")),
        (Some(failure), None) => check(State::Failed, failure),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(600);

    fn facts(state: &str, failed: &[&str]) -> Facts {
        let now = clock_gettime(ClockId::Monotonic);
        Facts {
            target: "multi-user.target".into(),
            target_state: state.into(),
            jobs: vec!["late.service".into()],
            failed_units: failed.iter().map(|name| (*name).to_owned()).collect(),
            restarts: BTreeMap::new(),
            updater: None,
            member: None,
            started: Duration::from_secs(now.tv_sec.unsigned_abs()),
        }
    }

    struct Machine(tempfile::TempDir, Root);

    impl Machine {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::from(folder.path());
            fs::create_dir_all(root.at("/proc/sys/kernel/random")).unwrap();
            fs::write(root.at("/proc/sys/kernel/random/boot_id"), "ab-cd\n").unwrap();
            Self(folder, root)
        }

        fn script(&self, path: &str, text: &str) {
            let path = self.1.at("/etc/keelson/health.d").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("#!/bin/sh\ncd {}\n{text}\n", self.0.path().display())).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }

        /// The verdict on a machine of which systemd says `told`, the last one again and again; the pauses between
        /// rounds. `limit` is the time that all has.
        fn examine(&self, trial: bool, limit: Duration, told: &[(&str, &[&str])]) -> (Verdict, Vec<u64>) {
            let usual = Settings::from(|_| None).unwrap();
            let settings = Settings { limit, ..usual };
            let journal = Journal::open(&self.1);
            let mut examination = Examination::new(&self.1, settings, &journal, trial).unwrap();
            let (mut round, mut pauses) = (0, Vec::new());
            let observe = || {
                let (state, failed) = told[round.min(told.len() - 1)];
                round += 1;
                Ok(facts(state, failed))
            };
            let verdict = examination.run(observe, |pause| pauses.push(pause.as_secs())).unwrap();
            (verdict, pauses)
        }

        fn report(&self) -> serde_json::Value {
            serde_json::from_slice(&fs::read(self.1.at("/run/keelson/health.json")).unwrap()).unwrap()
        }
    }

    fn healthy(passed: usize) -> Verdict {
        Verdict::Healthy(format!("this machine is healthy: {passed} checks passed"))
    }

    #[test]
    fn a_good_boot_is_remembered_and_the_next_one_is_measured_by_it() {
        let machine = Machine::new();
        machine.script("10-own", "echo fine");
        let first = machine.examine(false, LIMIT, &[("active", &["old.service"])]);
        assert_eq!(first, (healthy(3), vec![]), "what failed in the first boot is usual");
        let report = machine.report();
        assert_eq!((&report["state"], &report["why"]), (&"healthy".into(), &serde_json::Value::Null));
        assert_eq!(report["checks"][5]["why"], "fine");

        let worse = [("active", &["new.service", "old.service"] as &[_])];
        let (verdict, _) = machine.examine(false, Duration::ZERO, &worse);
        let why = "units: failed, and had not in the last good boot: new.service";
        assert_eq!(verdict, Verdict::Unhealthy(why.into()));
        let report = machine.report();
        assert_eq!((&report["state"], &report["why"]), (&"unhealthy".into(), &why.into()));
        assert!(
            good::read(&machine.1).0.unwrap().failed_units == ["old.service"],
            "a bad boot is not remembered"
        );
    }

    #[test]
    fn what_fails_is_tried_again_and_what_passed_is_not() {
        let machine = Machine::new();
        machine.script("10-once", "echo x >>once");
        machine.script("20-later", "echo x >>later; test $(wc -l <later) -ge 3");
        machine.script("wanted.d/30-never", "echo x >>never; exit 1");
        let (verdict, pauses) = machine.examine(false, LIMIT, &[("inactive", &[]), ("active", &[])]);
        let said = "this machine is healthy: 4 checks passed; 1 that is only wanted failed";
        assert_eq!((verdict, pauses), (Verdict::Healthy(said.into()), vec![1, 2]));
        for (file, times) in [("once", 1), ("later", 3), ("never", 1)] {
            let lines = fs::read_to_string(machine.0.path().join(file)).unwrap().lines().count();
            assert_eq!(lines, times, "{file}");
        }
    }

    #[test]
    fn a_boot_that_does_not_end_and_a_bus_that_is_not_there_are_not_healthy() {
        let machine = Machine::new();
        let (verdict, _) = machine.examine(false, Duration::ZERO, &[("inactive", &[])]);
        let why = "boot: multi-user.target is inactive; still on the way: late.service";
        assert_eq!(verdict, Verdict::Unhealthy(why.into()));

        let settings = Settings { limit: Duration::ZERO, ..Settings::from(|_| None).unwrap() };
        let journal = Journal::open(&machine.1);
        let mut examination = Examination::new(&machine.1, settings, &journal, false).unwrap();
        let verdict = examination.run(|| Err(AskError::Late(LIMIT)), |_| {}).unwrap();
        assert_eq!(verdict, Verdict::Unhealthy("systemd: systemd did not answer in 600000 ms".into()));
    }

    #[test]
    fn a_version_on_trial_has_to_pass_again_after_a_while() {
        let machine = Machine::new();
        machine.script("10-own", "echo x >>own");
        assert_eq!(machine.examine(true, LIMIT, &[("active", &[])]), (healthy(3), vec![120]));
        assert_eq!(fs::read_to_string(machine.0.path().join("own")).unwrap(), "x\nx\n");

        // A restart between the two checks begins the settle time anew.
        let restarts = [1, 2, 2, 2].into_iter();
        let mut restarts = restarts.map(|times| BTreeMap::from([("a.service".to_owned(), times)]));
        let settings = Settings::from(|_| None).unwrap();
        let journal = Journal::open(&machine.1);
        let mut examination = Examination::new(&machine.1, settings, &journal, true).unwrap();
        let mut pauses = Vec::new();
        let observe = || Ok(Facts { restarts: restarts.next().unwrap(), ..facts("active", &[]) });
        let verdict = examination.run(observe, |pause| pauses.push(pause.as_secs())).unwrap();
        assert_eq!((verdict, pauses), (healthy(3), vec![120, 2, 120]));

        let turns = [("active", &[] as &[_]), ("active", &["new.service"])];
        let (verdict, _) = machine.examine(true, Duration::ZERO, &turns);
        assert!(matches!(verdict, Verdict::Unhealthy(why) if why.contains("new.service")));
    }
}
