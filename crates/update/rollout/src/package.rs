//! What a channel can point to: one version for one architecture, as files.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Serialize};

/// Versions are compared as semver does, without what builds are called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    pub version: Version,
    pub arch: String,
    /// `amd64-usr`.
    pub board: String,
    pub payload: File,
    /// Everything else that machines fetch; not the metadata of a channel.
    #[serde(default)]
    pub further: Vec<File>,
    /// Where files lie that the server does not have itself.
    #[serde(default)]
    pub files_at: Option<String>,
    /// Channels that its signed metadata lets it into; empty: all.
    #[serde(default)]
    pub channels: Vec<String>,
    /// The oldest version that can go to it directly.
    #[serde(default)]
    pub min_from: Option<Version>,
    /// Of `release.json`, in hexadecimal, if it has one.
    #[serde(default)]
    pub release_sha256: Option<String>,
    #[serde(default)]
    pub notes_url: Option<String>,
    /// Seconds since 1970.
    pub created: u64,
    /// Nobody gets it any more, in whatever channel it is.
    #[serde(default)]
    pub banned: Option<String>,
    /// Channels in which nobody gets it.
    #[serde(default)]
    pub blacklist: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// In hexadecimal.
    pub sha256: String,
    /// In base64, as the protocol has it; empty where nobody counted it.
    #[serde(default)]
    pub sha1: String,
}

impl Package {
    pub fn may_be_in(&self, channel: &str) -> bool {
        self.channels.is_empty() || self.channels.iter().any(|name| name == channel)
    }
}

/// By precedence.
pub(crate) fn is_older(one: &Version, other: &Version) -> bool {
    one.cmp_precedence(other).is_lt()
}
