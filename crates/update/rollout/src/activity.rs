//! What happened, for people.

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
    /// An operator did something else.
    Operator,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts up, without gaps.
    pub number: u64,
    /// Seconds since 1970.
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
