//! Channels point to a version. Groups follow a channel by a policy.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::counts::Counts;
use crate::machine::Grant;
use crate::policy::Policy;
use crate::timeline::Timeline;
use crate::track::Track;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    pub track: Track,
    pub package: Option<Version>,
    /// Unix time in seconds.
    pub changed: u64,
    /// Versions that machines must not skip.
    #[serde(default)]
    pub floors: BTreeSet<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// As the machines send it.
    pub track: Track,
    pub channel: Track,
    pub policy: Policy,
    #[serde(default)]
    pub paused: Option<Paused>,
    #[serde(default)]
    pub rollout: Option<Rollout>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    pub by: PausedBy,
    pub why: String,
    /// Unix time in seconds.
    pub at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PausedBy {
    Operator,
    Failures,
    TimeOuts,
}

/// Seconds between two calls of [`Rollout::account_hold`] from which on the server counts as down in between.
const UNATTENDED: u64 = 3600;

/// Progress of a group towards its channel's version. Times are Unix time in seconds. Each machine counts once per
/// field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub version: Version,
    pub since: u64,
    pub attempted: u32,
    pub succeeded: u32,
    pub failed: u32,
    pub timed_out: u32,
    pub started: Option<u64>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// Unix time in seconds.
    pub at: u64,
    /// Machines that attempted the version since then.
    pub attempted: u32,
}

impl Rollout {
    pub(crate) fn new(version: Version, since: u64) -> Self {
        Self {
            version,
            since,
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
    pub group: Group,
    pub counts: Counts,
    pub timeline: Timeline,
}
