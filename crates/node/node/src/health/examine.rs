//! An examination of this machine: rounds of checks until none fails or the time is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

use super::check::{Check, Kind, State};
use super::good_boot::{self, GoodBoot};
use super::journal::{Journal, Priority};
use super::observe::Facts;
use super::report::{self, Health, Report};
use super::script::{self, Script};
use super::settings::Settings;
use super::{member, network, units, update_engine};
use crate::os_release;
use crate::ready;
use crate::root::Root;
use crate::systemd::QueryError;

/// Delays between rounds: short at first, as most failures are transient. The last one repeats.
const RETRY_DELAYS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];

/// The result, with a message of one line.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Healthy(String),
    Unhealthy(String),
    /// See [`Health::Waiting`].
    Waiting(String),
}

pub struct Examination<'a> {
    root: &'a Root,
    settings: Settings,
    journal: &'a Journal,
    trial: bool,
    /// The previous examination of this boot ended with [`Verdict::Waiting`].
    was_waiting: bool,
    version: Option<String>,
    boot_id: String,
    good_boot: Option<GoodBoot>,
    /// Restart counts of services at the last round; on trial only.
    restarts: BTreeMap<String, u32>,
    scripts: Vec<(Script, Option<Check>)>,
    /// The failure logged last for each check; repeats are not logged.
    logged: BTreeMap<String, String>,
}

impl<'a> Examination<'a> {
    pub fn new(root: &'a Root, settings: Settings, journal: &'a Journal, trial: bool) -> Result<Self> {
        let (good_boot, warning) = good_boot::read(root);
        if let Some(warning) = warning {
            journal.log(Priority::Warning, None, &warning);
        }
        let scripts = script::find(root).context("cannot read the health.d folders")?;
        Ok(Self {
            root,
            settings,
            journal,
            trial,
            was_waiting: report::is_waiting(root),
            version: os_release::value(root, "VERSION_ID"),
            boot_id: ready::boot_id(root)?,
            good_boot,
            restarts: BTreeMap::new(),
            scripts: scripts.into_iter().map(|script| (script, None)).collect(),
            logged: BTreeMap::new(),
        })
    }

    /// `observe` queries systemd, `sleep` waits. A version on trial must pass twice, with the settle time
    /// between.
    pub fn run(
        &mut self,
        mut observe: impl FnMut() -> Result<Facts, QueryError>,
        mut sleep: impl FnMut(Duration),
    ) -> Result<Verdict> {
        let mut deadline = Instant::now() + self.settings.limit;
        let mut settle_remaining = if self.trial { self.settings.settle } else { Duration::ZERO };
        self.write(Health::Checking, &[])?;
        for round in 0.. {
            let facts = observe();
            if let (0, Ok(facts)) = (round, &facts) {
                deadline = self.deadline(facts.started);
            }
            let restarted = facts.as_ref().map(|facts| self.restarted(&facts.restarts)).unwrap_or_default();
            if !restarted.is_empty() {
                // A service in a crash loop is active between its restarts.
                settle_remaining = self.settings.settle;
            }
            let checks = self.round(facts.as_ref(), &restarted);
            match (report::blocking_reason(&checks), facts) {
                (None, Ok(_)) if !settle_remaining.is_zero() => {
                    let seconds = settle_remaining.as_secs();
                    let line = format!(
                        "all checks passed; this version is on trial, so they are repeated in {seconds} s"
                    );
                    self.journal.log(Priority::Info, None, &line);
                    self.write(Health::Checking, &checks)?;
                    let settle = std::mem::take(&mut settle_remaining);
                    sleep(settle);
                    // The deadline may have passed on a slow machine: the second check needs time for retries
                    // too.
                    deadline = deadline.max(Instant::now() + settle.min(self.settings.limit));
                    self.reset_scripts();
                    continue;
                }
                (None, Ok(facts)) => return self.healthy(&checks, &facts),
                (reason, facts) if Instant::now() >= deadline => {
                    if let Some(reason) = facts.ok().and_then(|facts| self.missing_majority(&checks, &facts))
                    {
                        self.write(Health::Waiting, &checks)?;
                        return Ok(Verdict::Waiting(reason));
                    }
                    self.write(Health::Unhealthy, &checks)?;
                    return Ok(Verdict::Unhealthy(reason.unwrap_or_default()));
                }
                _ => self.write(Health::Checking, &checks)?,
            }
            let remaining = deadline.saturating_duration_since(Instant::now());
            sleep(RETRY_DELAYS[round.min(RETRY_DELAYS.len() - 1)].min(remaining));
        }
        // invariant: the loop ends by a return only.
        unreachable!("the rounds have no end")
    }

    /// Services restarted since the last round.
    fn restarted(&mut self, restarts: &BTreeMap<String, u32>) -> Vec<String> {
        let increased =
            |(name, times): &(&String, &u32)| self.restarts.get(*name).is_some_and(|before| *times > before);
        let restarted = restarts.iter().filter(increased).map(|(name, _)| name.clone()).collect();
        self.restarts.clone_from(restarts);
        restarted
    }

    fn deadline(&self, started: Duration) -> Instant {
        if self.was_waiting {
            return Instant::now() + self.settings.limit;
        }
        let now = clock_gettime(ClockId::Monotonic);
        let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default());
        Instant::now() + self.settings.limit.saturating_sub(now.saturating_sub(started))
    }

    /// The reason why a version on trial cannot be judged: its etcd member has no majority.
    fn missing_majority(&self, checks: &[Check], facts: &Facts) -> Option<String> {
        let fails = checks.iter().any(|check| check.name == member::NAME && check.is_blocking());
        let unit = facts.member.as_ref().filter(|_| self.trial && fails)?;
        member::missing_majority(self.root, unit)
    }

    fn round(&mut self, facts: Result<&Facts, &QueryError>, restarted: &[String]) -> Vec<Check> {
        let mut checks = match facts {
            Ok(facts) => vec![
                units::check_boot(&facts.target, &facts.target_state, &facts.jobs),
                units::check(
                    self.good_boot.as_ref(),
                    &units::without_own_units(&facts.failed_units),
                    restarted,
                ),
                update_engine::check(facts.update_engine.as_ref()),
                member::check(self.root, facts.member.as_ref()),
                network::check(self.good_boot.as_ref(), network::online(self.root)),
            ],
            Err(error) => vec![Check::new("systemd", State::Failed, service::error::chain(error))],
        };
        for (script, last) in &mut self.scripts {
            let settled = last.as_ref().filter(|check| !check.is_blocking());
            let check = match settled {
                Some(check) => check.clone(),
                None => last
                    .insert(run(script, self.settings.check_limit, self.journal, &mut self.logged))
                    .clone(),
            };
            checks.push(check);
        }
        for check in &checks {
            self.log_failure(check);
        }
        checks
    }

    /// Logs a failure, unless it is unchanged.
    fn log_failure(&mut self, check: &Check) {
        if check.state != State::Failed {
            self.logged.remove(&check.name);
        } else if self.logged.get(&check.name) != Some(&check.reason) {
            let priority = match check.kind {
                Kind::Required => Priority::Warning,
                Kind::Wanted => Priority::Notice,
            };
            self.journal.log(priority, Some(&check.name), &format!("failed: {}", check.reason));
            self.logged.insert(check.name.clone(), check.reason.clone());
        }
    }

    /// Makes all scripts run again.
    fn reset_scripts(&mut self) {
        for (_, last) in &mut self.scripts {
            *last = None;
        }
    }

    fn healthy(&self, checks: &[Check], facts: &Facts) -> Result<Verdict> {
        let boot = GoodBoot {
            version: self.version.clone(),
            boot_id: self.boot_id.clone(),
            failed_units: units::without_own_units(&facts.failed_units),
            online: network::online(self.root),
        };
        // A full disk must not cause a rollback: the other version has the same disk.
        if let Err(error) = good_boot::write(self.root, &boot) {
            self.journal.log(
                Priority::Warning,
                None,
                &format!("cannot save the record of this good boot: {error:#}"),
            );
        }
        self.write(Health::Healthy, checks)?;
        let count = |state: State| checks.iter().filter(|check| check.state == state).count();
        let mut logged = format!("this machine is healthy: {} checks passed", count(State::Passed));
        if count(State::Failed) > 0 {
            logged.push_str(&format!("; {} optional failed", count(State::Failed)));
        }
        Ok(Verdict::Healthy(logged))
    }

    fn write(&self, state: Health, checks: &[Check]) -> Result<()> {
        let report = Report {
            state,
            version: self.version.as_deref(),
            boot_id: &self.boot_id,
            trial: self.trial,
            reason: report::blocking_reason(checks),
            checks,
        };
        report::write(self.root, &report).context("cannot write /run/keelson/health.json")
    }
}

/// Runs a script. Its output is logged unless it is that of the last run.
fn run(script: &Script, limit: Duration, journal: &Journal, logged: &mut BTreeMap<String, String>) -> Check {
    let check =
        |state, reason: String| Check { kind: script.kind, ..Check::new(&script.name, state, reason) };
    if !script.executable {
        return check(State::Skipped, format!("{} is not executable", script.path.display()));
    }
    let result = script::run(&script.path, limit);
    let key = format!("{} output", script.name);
    if logged.get(&key) != Some(&result.output) {
        for line in result.output.lines() {
            journal.log(Priority::Info, Some(&script.name), line);
        }
        logged.insert(key, result.output.clone());
    }
    let last = result.output.lines().rfind(|line| !line.trim().is_empty());
    match (result.failure, last) {
        (None, last) => check(State::Passed, last.unwrap_or_default().to_owned()),
        (Some(failure), Some(last)) => check(State::Failed, format!("{failure}: {last}")),
        (Some(failure), None) => check(State::Failed, failure),
    }
}

#[cfg(test)]
#[path = "examine_tests.rs"]
mod tests;
