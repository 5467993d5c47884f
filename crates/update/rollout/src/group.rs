//! Channels point to a version. Groups follow a channel by a policy.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::counts::Counts;
use crate::limits::NEWCOMER;
use crate::machine::{Grant, Machine};
use crate::policy::Policy;
use crate::timeline::Timeline;
use crate::track::Track;

/// What machines of a kind should run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// The name and the architecture.
    pub track: Track,
    /// The current version; `None`: no updates.
    pub package: Option<Version>,
    /// Unix time in seconds.
    pub changed: u64,
    /// Versions that machines must not skip.
    #[serde(default)]
    pub floors: BTreeSet<Version>,
    /// Versions that it had before, unless they were removed.
    #[serde(default)]
    pub earlier: BTreeSet<Version>,
}

impl Channel {
    /// Whether it has a version, or had it.
    pub fn has_had(&self, version: &Version) -> bool {
        self.package.as_ref() == Some(version) || self.earlier.contains(version)
    }
}

/// Machines that update by one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// As the machines send it.
    pub track: Track,
    /// The channel that the group follows.
    pub channel: Track,
    /// When, and how many machines at a time, update.
    pub policy: Policy,
    /// `None` unless the group is paused.
    #[serde(default)]
    pub paused: Option<Paused>,
    /// Towards the channel's version; `None` before the first one.
    #[serde(default)]
    pub rollout: Option<Rollout>,
}

/// A paused group grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Who paused it.
    pub by: PausedBy,
    /// For operators.
    pub why: String,
    /// Unix time in seconds.
    pub at: u64,
}

/// Who paused a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PausedBy {
    /// An operator, by a command.
    Operator,
    /// [`Policy::max_failures`] was reached.
    Failures,
    /// Machines were lost in safe mode.
    TimeOuts,
}

/// Seconds between two calls of [`Rollout::account_hold`] from which on the server counts as down in between.
const UNATTENDED: u64 = 3600;

/// Progress of a group towards its channel's version. Times are Unix time in seconds. Each machine counts once per
/// field. One that is not registered does not count if it appeared during the rollout, for a day, or if there are
/// registered ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The version to reach.
    pub version: Version,
    /// When the channel began to point to it.
    pub since: u64,
    /// Machines of the group that ran an older version then.
    #[serde(default)]
    pub known: u64,
    /// Some of them were registered: only registered machines count.
    #[serde(default)]
    pub registered_only: bool,
    /// `since`, not changed when the clock is set back.
    #[serde(default)]
    known_until: u64,
    /// Machines that were granted the version.
    pub attempted: u32,
    /// Machines that run it.
    pub succeeded: u32,
    /// Machines that reported a failure.
    pub failed: u32,
    /// Machines that did not come back in time.
    pub timed_out: u32,
    /// When the first machine was granted the version.
    pub started: Option<u64>,
    /// When all machines had the version for the first time.
    pub finished: Option<u64>,
    /// Seconds since `since` without grants: group paused, windows closed, or server down.
    #[serde(default)]
    pub held: u64,
    /// When `held` was last updated; 0: never.
    #[serde(default)]
    pub counted: u64,
    /// The last resume. Earlier failures do not pause the group again.
    #[serde(default)]
    pub resumed: Option<Resumed>,
}

/// A resume of a paused group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// Unix time in seconds.
    pub at: u64,
    /// Machines that attempted the version since then.
    pub attempted: u32,
}

impl Rollout {
    /// `counts`: those of the group.
    pub(crate) fn new(version: Version, since: u64, counts: &Counts) -> Self {
        let known = counts.older_than(&version);
        Self {
            since,
            known: u64::try_from(known).unwrap_or(u64::MAX),
            registered_only: counts.registered_older_than(&version) > 0,
            version,
            known_until: since,
            attempted: 0,
            succeeded: 0,
            failed: 0,
            timed_out: 0,
            started: None,
            finished: None,
            held: 0,
            counted: since,
            resumed: None,
        }
    }

    /// Whether the machine, which gets or got its version at `granted`, counts: anyone can invent machines. It is
    /// registered; or no registered machine had to be updated, and it was there when the rollout began, or a day before
    /// its grant, or there were no machines to update.
    pub(crate) fn counts(&self, machine: &Machine, granted: u64) -> bool {
        let is_known = || {
            self.known == 0
                || machine.first_seen <= self.known_until
                || granted >= machine.first_seen.saturating_add(NEWCOMER)
        };
        machine.registered.is_some() || !self.registered_only && is_known()
    }

    /// Whether the machine may be the first one that gets the version. After a day the registered ones may be gone.
    pub(crate) fn may_go_first(&self, machine: &Machine, now: u64) -> bool {
        self.counts(machine, now) || self.registered_only && now >= self.known_until.saturating_add(NEWCOMER)
    }

    /// [`Rollout::counts`] of a machine that got its version.
    pub(crate) fn counts_granted(&self, machine: &Machine) -> bool {
        machine.last_grant.as_ref().is_some_and(|(_, at)| self.counts(machine, *at))
    }

    /// Seconds in which the group could grant the version. Waves depend on it.
    pub fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.since).saturating_sub(self.held)
    }

    /// Accounts for the time since the last call.
    pub(crate) fn account_hold(&mut self, may_grant: bool, now: u64) {
        let passed = now.saturating_sub(self.counted);
        if self.counted > 0 && (!may_grant || passed >= UNATTENDED) {
            self.held += passed;
        }
        self.counted = now;
        // The clock was set back.
        self.held = self.held.min(now.saturating_sub(self.since));
    }

    /// Counts `grant` as an attempt of its machine.
    pub(crate) fn count_attempt(&mut self, grant: &Grant) {
        self.change_attempts(grant, |count| count.saturating_add(1));
    }

    pub(crate) fn uncount_attempt(&mut self, grant: &Grant) {
        self.change_attempts(grant, |count| count.saturating_sub(1));
    }

    /// A machine attempts once, even if it is granted several floors before the version.
    fn change_attempts(&mut self, grant: &Grant, change: fn(u32) -> u32) {
        let is_first = |since| grant.at >= since && grant.before.as_ref().is_none_or(|(_, at)| *at < since);
        if is_first(self.since) {
            self.attempted = change(self.attempted);
        }
        if is_first(self.counting_since())
            && let Some(resumed) = &mut self.resumed
        {
            resumed.attempted = change(resumed.attempted);
        }
    }

    /// Start of the period whose attempts and failures may pause the group.
    pub(crate) fn counting_since(&self) -> u64 {
        self.resumed.map_or(self.since, |resumed| resumed.at.max(self.since))
    }

    /// Attempts in that period.
    pub(crate) fn attempts_in_period(&self) -> u32 {
        self.resumed.map_or(self.attempted, |resumed| resumed.attempted)
    }
}

/// A group with the counts of its machines.
#[derive(Debug, Clone)]
pub struct GroupState {
    /// As configured, with its rollout.
    pub group: Group,
    /// Of the group's machines.
    pub counts: Counts,
    /// History of the counts.
    pub timeline: Timeline,
}
