//! The state of one machine.

use std::net::IpAddr;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::limits::{GIVEN_UP, HISTORY};
use crate::reason::Reason;
use crate::track::Track;

/// Numbered as in CoreUpdate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each variant is a status of its name in CoreUpdate")]
pub enum Status {
    Undefined,
    Granted,
    Error,
    Complete,
    Installed,
    Downloaded,
    Downloading,
    OnHold,
}

impl Status {
    /// The number in CoreUpdate's API, 1 to 8.
    pub fn number(self) -> u8 {
        match self {
            Self::Undefined => 1,
            Self::Granted => 2,
            Self::Error => 3,
            Self::Complete => 4,
            Self::Installed => 5,
            Self::Downloaded => 6,
            Self::Downloading => 7,
            Self::OnHold => 8,
        }
    }

    /// As in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::Granted => "granted",
            Self::Error => "error",
            Self::Complete => "complete",
            Self::Installed => "installed",
            Self::Downloaded => "downloaded",
            Self::Downloading => "downloading",
            Self::OnHold => "onhold",
        }
    }

    /// Progress of an update. `None`: no update is in progress.
    pub(crate) fn step(self) -> Option<u8> {
        match self {
            Self::Granted => Some(0),
            Self::Downloading => Some(1),
            Self::Downloaded => Some(2),
            Self::Installed => Some(3),
            _ => None,
        }
    }
}

/// Times are Unix time in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// As sent, without braces.
    pub id: String,
    /// Flatcar's extension: a name for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The group.
    pub track: Track,
    /// As reported.
    pub version: String,
    /// Of the last request.
    pub ip: IpAddr,
    /// As reported: the id of the platform.
    pub oem: String,
    /// As reported.
    pub oem_version: String,
    /// As reported: the version at the first boot.
    pub aleph_version: String,
    /// As reported; changes with each boot.
    pub boot_id: String,
    /// The first request.
    pub first_seen: u64,
    /// The last request.
    pub last_seen: u64,
    /// The last request, if it proved the registration token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<u64>,
    /// 0: never.
    pub last_check: u64,
    /// By the events of the machine.
    pub status: Status,
    /// The last change of `status`.
    pub status_since: u64,
    /// The update in progress.
    pub grant: Option<Grant>,
    /// The last granted version, and when.
    pub last_grant: Option<(Version, u64)>,
    /// The version of the last rollout that counted this machine as a success, and when.
    #[serde(default)]
    pub last_success: Option<(Version, u64)>,
    /// The last one.
    pub failure: Option<Failure>,
    /// Versions that failed here or that the machine rejects. An on-demand check clears them.
    pub given_up: Vec<Version>,
    /// Why the last check got no update.
    pub refusal: Option<Reason>,
    /// The latest changes, oldest first.
    pub history: Vec<StatusChange>,
}

/// Permission to install a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What the machine may install.
    pub version: Version,
    /// When it was given.
    pub at: u64,
    /// Start of the timeout.
    pub renewed: u64,
    /// `last_grant` before this grant.
    #[serde(default)]
    pub before: Option<(Version, u64)>,
}

/// A failure that the machine reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The granted version, if there was a grant.
    pub version: Option<Version>,
    /// As sent, with its flags.
    pub code: u32,
    /// When it was reported.
    pub at: u64,
}

/// An entry of a machine's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChange {
    /// Unix time in seconds.
    pub at: u64,
    /// The status after the change.
    pub status: Status,
    /// The version that the machine reported.
    pub version: String,
    /// With [`Status::Error`]: the reported code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
}

impl Machine {
    pub(crate) fn new(id: &str, track: Track, ip: IpAddr, now: u64) -> Self {
        Self {
            id: id.to_owned(),
            alias: None,
            track,
            version: String::new(),
            ip,
            oem: String::new(),
            oem_version: String::new(),
            aleph_version: String::new(),
            boot_id: String::new(),
            first_seen: now,
            last_seen: now,
            registered: None,
            last_check: 0,
            status: Status::Undefined,
            status_since: now,
            grant: None,
            last_grant: None,
            last_success: None,
            failure: None,
            given_up: Vec::new(),
            refusal: None,
            history: Vec::new(),
        }
    }

    /// Forgets the grants: they do not apply to the machine's group, or to what is known of the machine, any more.
    pub(crate) fn forget_grants(&mut self, now: u64) {
        self.grant = None;
        self.last_grant = None;
        self.last_success = None;
        if self.status.step().is_some() {
            self.set_status(Status::Undefined, None, now);
        }
    }

    pub(crate) fn has_failed(&self, version: &Version) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.version.as_ref() == Some(version))
    }

    /// A version is installed and its grant has expired. The reboot may wait for a window for a long time.
    pub(crate) fn is_reboot_pending(&self) -> bool {
        self.status == Status::Installed && self.grant.is_none()
    }

    pub(crate) fn give_up(&mut self, version: &Version) {
        if !self.given_up.contains(version) {
            self.given_up.truncate(GIVEN_UP - 1);
            self.given_up.insert(0, version.clone());
        }
    }

    pub(crate) fn set_status(&mut self, status: Status, code: Option<u32>, now: u64) {
        if self.status == status && code.is_none() {
            return;
        }
        self.status = status;
        self.status_since = now;
        if self.history.len() >= HISTORY {
            self.history.remove(0);
        }
        self.history.push(StatusChange { at: now, status, version: self.version.clone(), code });
    }
}
