//! The activity log that operators read.

use serde::{Deserialize, Serialize};

use crate::track::Track;

/// How operators' tools show an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Expected, without a result.
    Info,
    /// A rollout or update is complete.
    Success,
    /// Needs attention, and does not stop a rollout.
    Warning,
    /// A failure.
    Error,
}

/// What happened. The names are an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The group granted its channel's version for the first time.
    RolloutStarted,
    /// All machines of the group have the version.
    RolloutFinished,
    /// Failures or lost machines paused the group.
    RolloutFailed,
    /// A machine checked, but its channel has no version.
    PackageNotFound,
    /// A machine failed with a version, or rejected it.
    InstanceUpdateFailed,
    /// A channel points to another version.
    ChannelPackageChanged,
    /// Any other command of an operator.
    Operator,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Consecutive, without gaps.
    pub number: u64,
    /// Unix time in seconds.
    pub at: u64,
    /// How tools show the entry.
    pub severity: Severity,
    /// What tools select entries by.
    pub kind: Kind,
    /// Canonical id of the application.
    pub app: String,
    /// If a group is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Track>,
    /// If a channel is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Track>,
    /// If a version is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Id of the machine, if one is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// One sentence for operators.
    pub text: String,
}
