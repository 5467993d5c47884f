//! The activity log that operators read.

use serde::{Deserialize, Serialize};

use crate::track::Track;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Success,
    Warning,
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    RolloutStarted,
    RolloutFinished,
    RolloutFailed,
    PackageNotFound,
    InstanceUpdateFailed,
    ChannelPackageChanged,
    /// Any other command of an operator.
    Operator,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Consecutive, without gaps.
    pub number: u64,
    /// Unix time in seconds.
    pub at: u64,
    pub severity: Severity,
    pub kind: Kind,
    pub app: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Track>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Track>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    pub text: String,
}
