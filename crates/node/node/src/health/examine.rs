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
    /// As [`Health::Waiting`].
    Waiting(String),
}

pub struct Examination<'a> {
    root: &'a Root,
    settings: Settings,
    journal: &'a Journal,
    trial: bool,
    /// The last examination of this boot ended with [`Verdict::Waiting`].
    waited: bool,
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
        let scripts = script::find(root).context("cannot read the folders of checks")?;
        Ok(Self {
            root,
            settings,
            journal,
            trial,
            waited: report::is_waiting(root),
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
                (why, facts) if Instant::now() >= deadline => {
                    if let Some(why) = facts.ok().and_then(|facts| self.without_majority(&checks, &facts)) {
                        self.write(Health::Waiting, &checks)?;
                        return Ok(Verdict::Waiting(why));
                    }
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
        if self.waited {
            return Instant::now() + self.settings.limit;
        }
        let now = clock_gettime(ClockId::Monotonic);
        let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default());
        Instant::now() + self.settings.limit.saturating_sub(now.saturating_sub(started))
    }

    /// Why a version on trial cannot be judged: its member of the key-value store lacks the others.
    fn without_majority(&self, checks: &[Check], facts: &Facts) -> Option<String> {
        let fails = checks.iter().any(|check| check.name == member::NAME && check.is_in_the_way());
        let unit = facts.member.as_ref().filter(|_| self.trial && fails)?;
        member::without_majority(self.root, unit)
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
            Err(error) => vec![Check::new("systemd", State::Failed, service::error::chain(error))],
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
        report::write(self.root, &report).context("cannot write /run/keelson/health.json")
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
#[path = "examine_tests.rs"]
mod tests;
