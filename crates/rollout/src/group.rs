//! Channels, which have a version, and groups, which take it by a policy.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::counts::Counts;
use crate::policy::Policy;
use crate::timeline::Timeline;
use crate::track::Track;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    pub track: Track,
    pub package: Option<Version>,
    /// Seconds since 1970.
    pub changed: u64,
    /// Versions that nobody may jump over.
    #[serde(default)]
    pub floors: BTreeSet<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// As machines send it.
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
    /// Seconds since 1970.
    pub at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PausedBy {
    Operator,
    Failures,
    TimeOuts,
}

/// How a group fares with what its channel has now. Times are seconds since 1970; a machine counts once in each.
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
        }
    }
}

/// With what is counted of its machines.
#[derive(Debug, Clone)]
pub struct GroupState {
    pub group: Group,
    pub counts: Counts,
    pub timeline: Timeline,
}
