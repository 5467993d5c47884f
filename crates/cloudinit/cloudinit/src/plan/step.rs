//! What a plan is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::file_source::FileSource;
use crate::key_import::KeyImport;

/// What was observed on the machine before planning.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Of the users that the config names, those that exist.
    pub users: BTreeSet<String>,
    /// Of the groups that the config names, those that exist.
    pub groups: BTreeSet<String>,
    /// Who is in which of them: group and user.
    pub members: BTreeSet<(String, String)>,
    /// `/etc/coreos/update.conf`, else the image's.
    pub update_conf: String,
    /// `/etc/environment`.
    pub environment: String,
    /// `/etc/locale.conf`.
    pub locale_conf: String,
    /// Lines for `/etc/hosts` that whoever runs the machine gave it: address and name.
    pub extra_hosts: String,
    /// The kernel's host name now.
    pub hostname: String,
    /// The network interfaces that are there.
    pub interfaces: BTreeSet<String>,
    /// Of the files of the datasource's network, those that are there, with their contents.
    pub network_files: BTreeMap<String, String>,
}

/// How the run was asked for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Under which name the keys are stored.
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
    /// `arguments` go between `useradd` and the name.
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
    /// Nobody can log in by the password that the user has.
    LockPassword {
        name: String,
    },
    SshKeys {
        user: String,
        name: String,
        keys: Vec<String>,
    },
    /// The keys are not known yet.
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
    /// The content is not known yet; the one that is given stands in for it where it cannot be had.
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
    /// Carried out only if a step before changed a unit that systemd has loaded already.
    DaemonReload,
    Unit {
        unit: String,
        command: String,
        when: When,
    },
    Script {
        content: Arc<[u8]>,
        /// One of several: each waits for the one before.
        chained: bool,
    },
}

/// A password hash that shows nowhere.
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

/// Contents may be secret; a debug line has their size only.
impl std::fmt::Debug for FileWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:04o} {:?} {} bytes", self.path, self.mode, self.owner, self.content.len())
    }
}

/// What a written file is, for the log and for what has to follow a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    File,
    /// Only if nothing is there.
    CreateOnly,
    /// Added to what is there, unless it is in it already.
    Append {
        keeps_mode: bool,
    },
    /// Rules for sudo: a mistake in them would lock everybody out of root, so they are checked first.
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

/// When a unit's command is given, and whether its job is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Asked for by name: waited for.
    Requested,
    /// Follows from a setting: queued only, since the unit may be ordered after this run.
    Implied,
    /// Only if a network unit changed: waited for.
    NetworkChanged,
    /// Only if this file was written anew: queued.
    Written(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Lines for the log: what is skipped and why.
    pub notes: Vec<String>,
}

impl Plan {
    pub(super) fn push(&mut self, action: Action, why: impl Into<String>) {
        self.steps.push(Step { action, why: why.into() });
    }
}
