//! Flags, errors and summaries shared by the commands that work on a member's data directory.

use std::path::{Path, PathBuf};

use command_line::{Flag, ParsedArgs, ValueKind};
use etcd_raft::{DataError, DataLocation, MemberData};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};

/// Data directory of the node's own etcd.
const NODE_DATA_DIR: &str = "/var/lib/etcd";

pub const DATA_DIR: Flag =
    Flag::new("data-dir", ValueKind::Directory, "data directory of the member").default(NODE_DATA_DIR);
pub const WAL_DIR: Flag =
    Flag::new("wal-dir", ValueKind::Directory, "WAL directory of the member, if separate");
pub const BACKUP_DIR: Flag = Flag::new("backup-dir", ValueKind::Directory, "directory of the backup");
pub const BACKUP_WAL_DIR: Flag =
    Flag::new("backup-wal-dir", ValueKind::Directory, "WAL directory of the backup, if separate");

/// etcd's data directory, and the location of the member's data in it.
pub struct DataDir {
    pub root: PathBuf,
    pub location: DataLocation,
}

/// Reads the flags `dir` and `log`. `dir` is required unless it has a default.
pub fn data_dir(args: &ParsedArgs, dir: &Flag, log: &Flag) -> Result<DataDir, Failure> {
    let text = |flag: &Flag| args.text(flag.name()).filter(|text| !text.is_empty());
    let default = (!dir.default_value().is_empty()).then_some(dir.default_value());
    let Some(root) = text(dir).or(default) else {
        return Err(Failure::error(Exit::BadArguments, &format!("--{} required", dir.name())));
    };
    let root = PathBuf::from(root);
    let location = DataLocation { folder: root.join("member"), log: text(log).map(PathBuf::from) };
    Ok(DataDir { root, location })
}

/// The error with its chain of causes, and a hint.
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
        std::io::ErrorKind::StorageFull => "no space left on that disk: choose a directory on another one",
        _ => "look at that path",
    }
}

fn denied(text: &str) -> &'static str {
    if text.contains("Permission denied") {
        return "only root may: sudo etcdctl ...";
    }
    "nothing of this disk is used: take another member's data, or an older backup"
}

/// One line for people.
pub fn summary(copy: &MemberData) -> String {
    format!(
        "{} keys at index {}, of member {:x} of cluster {:x}",
        copy.store.key_count(),
        copy.store.index(),
        copy.identity.member_id,
        copy.identity.cluster_id
    )
}

/// The same for `--output json`.
pub fn document(copy: &MemberData, at: &Path) -> Value {
    json!({
        "path": at,
        "keys": copy.store.key_count(),
        "index": copy.store.index(),
        "member": format!("{:x}", copy.identity.member_id),
        "cluster": format!("{:x}", copy.identity.cluster_id),
    })
}
