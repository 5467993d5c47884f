//! What the commands on a member's own files have in common: where the files are, how errors are told.

use std::path::{Path, PathBuf};

use command_line::{Flag, ParsedArgs, ValueKind};
use etcd_raft::{DataError, DataLocation, MemberData};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};

/// Where the node's own member keeps its data.
const NODE_DATA_DIR: &str = "/var/lib/etcd";

pub const DATA_DIR: Flag =
    Flag::new("data-dir", ValueKind::Directory, "the member's data").default(NODE_DATA_DIR);
pub const WAL_DIR: Flag =
    Flag::new("wal-dir", ValueKind::Directory, "the member's log, where it is not with its data");
pub const BACKUP_DIR: Flag = Flag::new("backup-dir", ValueKind::Directory, "where the backup is");
pub const BACKUP_WAL_DIR: Flag =
    Flag::new("backup-wal-dir", ValueKind::Directory, "where the backup's log is, where it is not with it");

/// The directory that etcd is started with, and its member.
pub struct DataDir {
    pub root: PathBuf,
    pub place: DataLocation,
}

/// `default` where the flag is not given; without one it must be.
pub fn place(given: &ParsedArgs, dir: &Flag, log: &Flag) -> Result<DataDir, Failure> {
    let text = |flag: &Flag| given.text(flag.name()).filter(|text| !text.is_empty());
    let default = (!dir.default_value().is_empty()).then_some(dir.default_value());
    let Some(root) = text(dir).or(default) else {
        return Err(Failure::error(Exit::BadArguments, &format!("--{} required", dir.name())));
    };
    let root = PathBuf::from(root);
    let place = DataLocation { folder: root.join("member"), log: text(log).map(PathBuf::from) };
    Ok(DataDir { root, place })
}

/// The whole chain of causes, and what to do.
pub fn failed(doing: &str, error: &DataError) -> Failure {
    let mut text = format!("{doing}: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    let hint = match error {
        DataError::NoMember(_) => "name the directory that etcd is started with (-data-dir, ETCD_DATA_DIR)",
        DataError::NoLog(_) => "name the log's directory with --wal-dir, as etcd is started with it",
        DataError::Empty(_) => "this member has not joined a cluster yet: take one that has",
        DataError::Exists(_) => "name another directory, or move this one away",
        DataError::Behind { .. } | DataError::Missing { .. } => "the member was too busy: try again",
        DataError::Entry(entry, _) | DataError::Command(entry, _) => {
            let up_to = entry.saturating_sub(1);
            return with_hint(
                &text,
                &format!(
                    "take another member's data; where all have that entry, all but it and what follows: etcdctl backup \
                     --up-to {up_to}, then etcdctl restore"
                ),
            );
        }
        DataError::Beyond { has, .. } => return with_hint(&text, &format!("--up-to {has} is the least")),
        DataError::Membership(_) | DataError::Append(_) | DataError::Flush(_) => "try again",
        DataError::Io(_, error) => io_hint(error),
        DataError::Identity(_) | DataError::Log(_) | DataError::Read(_) | DataError::State(_) => {
            denied(&text)
        }
    };
    with_hint(&text, hint)
}

fn with_hint(text: &str, hint: &str) -> Failure {
    Failure::error(Exit::BadArguments, &format!("{text}\nhint: {hint}"))
}

fn io_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => "only root may: sudo etcdctl ...",
        std::io::ErrorKind::StorageFull => "there is no room on that disk: name a directory on another one",
        _ => "look at that path",
    }
}

fn denied(text: &str) -> &'static str {
    if text.contains("Permission denied") {
        return "only root may: sudo etcdctl ...";
    }
    "nothing of this disk is used: take another member's data, or an older backup"
}

/// What a copy holds, for people.
pub fn held(copy: &MemberData) -> String {
    format!(
        "{} keys at index {}, of member {:x} of cluster {:x}",
        copy.store.key_count(),
        copy.store.index(),
        copy.identity.member_id,
        copy.identity.cluster_id
    )
}

/// The same for scripts.
pub fn document(copy: &MemberData, at: &Path) -> Value {
    json!({
        "path": at,
        "keys": copy.store.key_count(),
        "index": copy.store.index(),
        "member": format!("{:x}", copy.identity.member_id),
        "cluster": format!("{:x}", copy.identity.cluster_id),
    })
}
