//! The data types of a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::file_source::FileSource;
use crate::key_import::KeyImport;

/// The observed state of the machine.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Existing users, among those in the config.
    pub users: BTreeSet<String>,
    /// Existing groups, among those in the config.
    pub groups: BTreeSet<String>,
    /// Group memberships as (group, user), among the above.
    pub members: BTreeSet<(String, String)>,
    /// `/etc/coreos/update.conf`, or the image's default.
    pub update_conf: String,
    /// `/etc/environment`.
    pub environment: String,
    /// `/etc/locale.conf`.
    pub locale_conf: String,
    /// Additional lines for `/etc/hosts` (address and name), set by the operator of the machine.
    pub extra_hosts: String,
    /// The kernel's current hostname.
    pub hostname: String,
    /// Existing network interfaces.
    pub interfaces: BTreeSet<String>,
    /// Existing files among those of the datasource's network, with their contents.
    pub network_files: BTreeMap<String, String>,
}

/// Options of the run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name under which SSH keys are stored.
    pub ssh_key_name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub action: Action,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Hostname {
        name: String,
    },
    /// Runs `useradd ARGUMENTS NAME`.
    UserAdd {
        name: String,
        arguments: Vec<String>,
    },
    GroupAdd {
        name: String,
    },
    GroupMember {
        group: String,
        user: String,
    },
    Password {
        name: String,
        hash: Hash,
    },
    /// Disables login with the user's password.
    LockPassword {
        name: String,
    },
    SshKeys {
        user: String,
        name: String,
        keys: Vec<String>,
    },
    /// Fetches the keys when the step runs.
    ImportKeys {
        user: String,
        name: String,
        from: KeyImport,
    },
    InterfaceDown {
        name: String,
    },
    Modprobe {
        arguments: Vec<String>,
    },
    TimeZone {
        name: String,
    },
    Write(FileWrite),
    /// Downloads the content when the step runs. `write.content` is used if the download fails and
    /// `has_fallback` is set.
    Fetch {
        write: FileWrite,
        from: Arc<FileSource>,
        has_fallback: bool,
    },
    Mask {
        path: String,
    },
    Unmask {
        path: String,
    },
    Enable {
        unit: String,
        runtime: bool,
    },
    /// Runs only if an earlier step changed a unit that systemd has loaded.
    DaemonReload,
    Unit {
        unit: String,
        command: String,
        when: When,
    },
    Script {
        content: Arc<[u8]>,
        /// Whether there are several scripts: each waits for the previous one.
        chained: bool,
    },
}

/// A password hash; `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash(pub String);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct FileWrite {
    pub path: String,
    pub mode: u32,
    pub owner: String,
    pub content: Arc<[u8]>,
    pub kind: FileKind,
}

/// Prints the size instead of the content, which may be secret.
impl std::fmt::Debug for FileWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:04o} {:?} {} bytes", self.path, self.mode, self.owner, self.content.len())
    }
}

/// The purpose of a file, which determines logging and follow-up actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    File,
    /// Written only if the file does not exist.
    CreateOnly,
    /// Appended unless the file already contains it.
    Append {
        keeps_mode: bool,
    },
    /// A sudoers file, validated before it is written: an error would disable sudo for all users.
    Sudoers,
    Unit {
        name: String,
        network: bool,
    },
    DropIn {
        unit: String,
        name: String,
        network: bool,
    },
}

/// When a unit command runs, and whether its job is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Listed in the config: awaited.
    Requested,
    /// Implied by a setting: queued only, since the unit may be ordered after this run.
    Implied,
    /// Only if a network unit changed: awaited.
    NetworkChanged,
    /// Only if this file changed: queued.
    Written(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Log lines about skipped entries.
    pub notes: Vec<String>,
}

impl Plan {
    pub(super) fn push(&mut self, action: Action, why: impl Into<String>) {
        self.steps.push(Step { action, why: why.into() });
    }
}
