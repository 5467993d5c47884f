//! Packages: one version for one architecture, and its files.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde::{Deserialize, Serialize};

/// Versions are compared by semver precedence, which ignores build metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Unique within an architecture.
    pub version: Version,
    /// `amd64`, `aarch64`.
    pub arch: String,
    /// `amd64-usr`.
    pub board: String,
    /// The full payload.
    pub payload: File,
    /// All other files that machines fetch, except the metadata of a channel.
    #[serde(default)]
    pub further: Vec<File>,
    /// Base URL of files that the server does not store.
    #[serde(default)]
    pub files_at: Option<String>,
    /// Channels that the signed metadata allows; empty: all.
    #[serde(default)]
    pub channels: Vec<String>,
    /// The oldest version that can update to this one directly.
    #[serde(default)]
    pub min_from: Option<Version>,
    /// Of `release.json`, in hexadecimal.
    #[serde(default)]
    pub release_sha256: Option<String>,
    /// For operators.
    #[serde(default)]
    pub notes_url: Option<String>,
    /// Unix time in seconds.
    pub created: u64,
    /// Why the version is banned. No machine gets it, in any channel.
    #[serde(default)]
    pub banned: Option<String>,
    /// Channels in which no machine gets it.
    #[serde(default)]
    pub blacklist: BTreeSet<String>,
    /// For new machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Images>,
}

/// The image files of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// The signed list of them.
    pub list: File,
    /// At least one.
    pub files: Vec<Image>,
    /// Base URL of files that the server does not store.
    #[serde(default)]
    pub files_at: Option<String>,
}

/// A file that new machines are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Name, size and digest.
    pub file: File,
    /// The channel that its machines follow.
    pub channel: String,
    /// As the build names it.
    pub format: String,
    /// Further digests in hexadecimal, by the name of the algorithm; none if the server does not store the file.
    #[serde(default)]
    pub digests: BTreeMap<String, String>,
}

/// A file that machines fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Relative to the base URL.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// In hexadecimal.
    pub sha256: String,
    /// In base64, as in Omaha; empty if unknown.
    #[serde(default)]
    pub sha1: String,
}

impl File {
    /// Whether the contents are the same. An unknown SHA-1 is ignored.
    pub fn has_content_of(&self, other: &Self) -> bool {
        let sha1 = self.sha1 == other.sha1 || self.sha1.is_empty() || other.sha1.is_empty();
        sha1 && (&self.name, self.size, &self.sha256) == (&other.name, other.size, &other.sha256)
    }
}

impl Package {
    /// Whether no machine of a channel gets it, although the channel has it or had it.
    pub fn is_withdrawn_from(&self, channel: &str) -> bool {
        self.banned.is_some() || self.blacklist.contains(channel)
    }

    pub(crate) fn may_be_in(&self, channel: &str) -> bool {
        self.channels.is_empty() || self.channels.iter().any(|name| name == channel)
    }
}

/// By semver precedence.
pub(crate) fn is_older(one: &Version, other: &Version) -> bool {
    one.cmp_precedence(other).is_lt()
}
