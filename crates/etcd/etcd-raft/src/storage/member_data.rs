//! Reading a member's data without the member, and writing it as the data of a new one: backup and restore.
//!
//! The source is never changed. All records are verified. An incomplete copy never gets the final name.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use etcd_store::Store;
use raft_log::disk::{Disk, DiskLock};
use raft_log::{Log, Purged, ReadOnlyLog, RealDisk};

use crate::codec::{self, DecodeError, Reader};
use crate::limits::{
    COPIED_LOG_SEGMENT_BYTES, DATA_READ_RETRY_INTERVAL, DATA_READ_TIMEOUT, LOG_CACHE_BYTES, LOG_READ_BYTES,
};
use crate::raft_types::{
    LeaderId, LogId, Membership, Payload, PeerNode, SnapshotMeta, StoredMembership, Vote,
};
use crate::storage::checkpoint::{self, CheckpointError};
use crate::storage::force_new_cluster;
use crate::storage::identity::{self, Identity, IdentityError};
use crate::storage::log_store::VOTE;

const LOG: &str = "log";
const STATE: &str = "state";
/// Only the member's user may read its data.
const FOLDER_MODE: u32 = 0o700;

/// Where a member's data is stored: `member` in etcd's data directory, and the log's directory if it is separate.
#[derive(Debug, Clone)]
pub struct DataLocation {
    pub folder: PathBuf,
    pub log: Option<PathBuf>,
}

impl DataLocation {
    fn log(&self) -> PathBuf {
        self.log.clone().unwrap_or_else(|| self.folder.join(LOG))
    }

    /// The identity of the member that is running on this data, if any.
    pub fn running_member(&self) -> Result<Option<Identity>, DataError> {
        let identity = identity::read(&self.folder)?;
        let identity = identity.ok_or_else(|| DataError::NoMember(self.folder.clone()))?;
        let log = self.log();
        if !log.is_dir() {
            return Err(DataError::NoLog(log));
        }
        let locked = match RealDisk::at(&log).and_then(|disk| disk.lock()) {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(error) => return Err(DataError::Io(log, error)),
        };
        Ok(locked.then_some(identity))
    }
}

/// The data of a member, verified and in memory.
#[derive(Debug)]
pub struct MemberData {
    pub identity: Identity,
    pub store: Store,
    /// Whether the member was running while its data was read.
    pub in_use: bool,
    last: LogId,
}

#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{0} holds no data of a member")]
    NoMember(PathBuf),
    #[error("the log is not at {0}")]
    NoLog(PathBuf),
    #[error("the member in {0} never wrote anything")]
    Empty(PathBuf),
    #[error("{0} exists already")]
    Exists(PathBuf),
    #[error("the identity")]
    Identity(#[from] IdentityError),
    #[error("the log")]
    Log(#[from] raft_log::OpenError),
    #[error("the log")]
    Read(#[from] raft_log::ReadError),
    #[error("the state")]
    State(#[from] CheckpointError),
    #[error("log entry {0} is no entry of this version")]
    Entry(u64, #[source] DecodeError),
    #[error("log entry {0} holds a command that this version cannot read")]
    Command(u64, #[source] etcd_store::DecodeError),
    #[error("the state on the disk is that after log entry {has}, and cannot be that after entry {wanted}")]
    Beyond { has: u64, wanted: u64 },
    #[error("the log begins at entry {first}; entry {needed} is missing")]
    Missing { needed: u64, first: u64 },
    #[error("the disk has index {has}; the member had acknowledged {wanted}")]
    Behind { has: u64, wanted: u64 },
    #[error("{0}")]
    Io(PathBuf, #[source] io::Error),
    #[error("the new log")]
    Append(#[from] raft_log::AppendError),
    #[error("the new log")]
    Flush(#[from] raft_log::FlushError),
    #[error("the new cluster: {0}")]
    Membership(String),
}

impl MemberData {
    /// Reads the data. If the member is running, the result includes everything it has acknowledged before.
    /// `at_least` is a store index that must be included, as acknowledged by such a member.
    pub fn read(location: &DataLocation, at_least: u64) -> Result<Self, DataError> {
        Self::read_with_retry(location, at_least, None)
    }

    /// As [`MemberData::read`], up to a log entry: for a log with an entry that cannot be decoded. Later entries are
    /// lost.
    pub fn read_up_to(location: &DataLocation, entry: u64) -> Result<Self, DataError> {
        Self::read_with_retry(location, 0, Some(entry))
    }

    fn read_with_retry(
        location: &DataLocation,
        at_least: u64,
        up_to: Option<u64>,
    ) -> Result<Self, DataError> {
        let began = Instant::now();
        loop {
            let (result, in_use) = read_once(location, up_to);
            let result = result.and_then(|data| data.check_index(at_least));
            // A running member may write, remove or replace files at any moment.
            if result.is_ok() || !in_use || began.elapsed() > DATA_READ_TIMEOUT {
                return result;
            }
            std::thread::sleep(DATA_READ_RETRY_INTERVAL);
        }
    }

    fn check_index(self, wanted: u64) -> Result<Self, DataError> {
        let has = self.store.index();
        if has < wanted { Err(DataError::Behind { has, wanted }) } else { Ok(self) }
    }

    /// Writes the data of a new member, which forms a new cluster at its first start. All or nothing; durable on
    /// return.
    pub fn write(&self, location: &DataLocation) -> Result<Identity, DataError> {
        for path in [Some(&location.folder), location.log.as_ref()].into_iter().flatten() {
            if path.symlink_metadata().is_ok() {
                return Err(DataError::Exists(path.clone()));
            }
        }
        let part = part_path(&location.folder);
        let log_part = location.log.as_ref().map(|log| part_path(log));
        let made = self.write_parts(&part, log_part.as_deref()).and_then(|identity| {
            if let (Some(from), Some(to)) = (&log_part, &location.log) {
                rename(from, to)?;
            }
            rename(&part, &location.folder)?;
            Ok(identity)
        });
        if made.is_err() {
            // The first error is reported.
            let left = [Some(part), log_part, location.log.clone()];
            left.iter().flatten().for_each(|path| drop(fs::remove_dir_all(path)));
        }
        made
    }

    fn write_parts(&self, folder: &Path, log: Option<&Path>) -> Result<Identity, DataError> {
        let owner = folder.parent().unwrap_or(folder);
        create_folder(folder)?;
        let (cluster, member) = (identity::new_id(), identity::new_id());
        let identity = identity::open_or_create(folder, cluster, member)?;
        force_new_cluster::request(folder).map_err(|error| DataError::Io(folder.to_owned(), error))?;
        self.write_state(&folder.join(STATE), member)?;
        let log = log.map_or_else(|| folder.join(LOG), Path::to_owned);
        self.write_log(&log, member)?;
        for tree in [folder, &log] {
            sync_tree(tree, owner).map_err(|error| DataError::Io(tree.to_owned(), error))?;
        }
        Ok(identity)
    }

    fn write_state(&self, root: &Path, member: u64) -> Result<(), DataError> {
        let nodes = BTreeMap::from([(member, PeerNode::default())]);
        let membership = Membership::new(vec![[member].into()], nodes);
        let membership = membership.map_err(|error| DataError::Membership(error.to_string()))?;
        let meta = SnapshotMeta {
            last_log_id: Some(self.last),
            last_membership: StoredMembership::new(Some(self.last), membership),
        };
        create_folder(root)?;
        let checkpoint = checkpoint::open(root)?;
        checkpoint.commit(self.store.snapshot(), &meta)?;
        checkpoint.close();
        Ok(())
    }

    /// Writes a log that begins after the state.
    fn write_log(&self, folder: &Path, member: u64) -> Result<(), DataError> {
        let failed = |error| DataError::Io(folder.to_owned(), error);
        let options = raft_log::Options {
            segment_bytes: COPIED_LOG_SEGMENT_BYTES,
            cache_bytes: LOG_CACHE_BYTES,
            new_id: raft_log::LogId::random().map_err(failed)?,
        };
        let (log, mut flusher, _) = Log::open(Arc::new(RealDisk::at(folder).map_err(failed)?), options)?;
        let (mut note, mut vote) = (BytesMut::new(), BytesMut::new());
        codec::put_log_id(&mut note, &self.last);
        let leader_id = LeaderId { term: self.last.leader_id.term, node_id: member };
        codec::put_vote(&mut vote, &Vote { leader_id, committed: false });
        log.purge_to(Purged { index: self.last.index, term: self.last.leader_id.term, note: note.freeze() })?;
        log.set_state(VOTE, vote.freeze())?;
        flusher.flush()?;
        Ok(())
    }
}

/// Also returns whether the data is in use.
fn read_once(location: &DataLocation, up_to: Option<u64>) -> (Result<MemberData, DataError>, bool) {
    let folder = &location.folder;
    let identity = match identity::read(folder) {
        Ok(Some(identity)) => identity,
        Ok(None) => return (Err(DataError::NoMember(folder.clone())), false),
        Err(error) => return (Err(error.into()), false),
    };
    let log = location.log();
    if !log.is_dir() {
        return (Err(DataError::NoLog(log)), false);
    }
    let failed = |error| DataError::Io(log.clone(), error);
    let disk = match RealDisk::at(&log) {
        Ok(disk) => disk,
        Err(error) => return (Err(failed(error)), false),
    };
    match disk.lock() {
        Ok(lock) => (read_locked(location, identity, disk, Some(lock), up_to), false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            (read_locked(location, identity, disk, None, up_to), true)
        }
        Err(error) => (Err(failed(error)), false),
    }
}

/// Reads the checkpoint, then the log, which includes later changes. While the lock is held there is no writer.
fn read_locked(
    location: &DataLocation,
    identity: Identity,
    disk: RealDisk,
    lock: Option<DiskLock>,
    up_to: Option<u64>,
) -> Result<MemberData, DataError> {
    let in_use = lock.is_none();
    let (mut store, mut last) = (Store::new(), None);
    if let Some(checkpoint) = checkpoint::open_read_only(&location.folder.join(STATE), in_use)? {
        let view = checkpoint.view()?;
        if let Some(meta) = view.meta()? {
            store = view.restore()?;
            last = meta.last_log_id;
        }
        drop(view);
        checkpoint.close();
    }
    drop(lock);
    let log = ReadOnlyLog::open(Arc::new(disk))?;
    let next = last.map_or(0, |last: LogId| last.index + 1);
    if let (Some(last), Some(wanted)) = (&last, up_to)
        && last.index > wanted
    {
        return Err(DataError::Beyond { has: last.index, wanted });
    }
    let last = match last {
        Some(last) if conflicts_with_log(&log, last)? => Some(last),
        _ => apply_log(&log, next, up_to, &mut store)?.or(last),
    };
    let last = last.ok_or_else(|| DataError::Empty(location.folder.clone()))?;
    Ok(MemberData { identity, store, in_use, last })
}

/// Whether the log has a different entry at the checkpoint's position. The checkpoint may be ahead of the log on
/// disk, whose end then stems from a failed leader. A member drops it at its start too.
fn conflicts_with_log(log: &ReadOnlyLog, last: LogId) -> Result<bool, DataError> {
    if log.bounds().first.is_none_or(|first| last.index < first) {
        return Ok(false);
    }
    let records = log.read(last.index..last.index + 1, LOG_READ_BYTES)?;
    let Some(record) = records.into_iter().next() else { return Ok(false) };
    let entry = Reader::new(record.payload).entry(last.index);
    let entry = entry.map_err(|error| DataError::Entry(last.index, error))?;
    Ok(entry.log_id != last)
}

/// Applies the log from `next` on, up to the entry `up_to`; returns the last log id. Uncommitted entries are applied
/// too: acknowledged ones are among them, and no client received an error for the others.
fn apply_log(
    log: &ReadOnlyLog,
    next: u64,
    up_to: Option<u64>,
    store: &mut Store,
) -> Result<Option<LogId>, DataError> {
    let bounds = log.bounds();
    let (Some(first), Some(end)) = (bounds.first, bounds.last) else { return Ok(None) };
    let end = up_to.map_or(end, |up_to| end.min(up_to));
    // The first entry of a log has index 0 or 1.
    if first > next.max(1) {
        return Err(DataError::Missing { needed: next, first });
    }
    let (mut next, mut last) = (next.max(first), None);
    while next <= end {
        for record in log.read(next..end + 1, LOG_READ_BYTES)? {
            let index = record.index;
            let entry = Reader::new(record.payload).entry(index);
            let entry = entry.map_err(|error| DataError::Entry(index, error))?;
            if let Payload::Normal(batch) = &entry.payload {
                for command in batch.decode().map_err(|error| DataError::Command(index, error))? {
                    store.apply(&command);
                }
            }
            last = Some(entry.log_id);
            next = index + 1;
        }
    }
    Ok(last)
}

fn part_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}-{:08x}.part", rand::random::<u32>()))
}

fn create_folder(path: &Path) -> Result<(), DataError> {
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
    made.map_err(|error| DataError::Io(path.to_owned(), error))
}

fn rename(from: &Path, to: &Path) -> Result<(), DataError> {
    let renamed = fs::rename(from, to).and_then(|()| File::open(to.parent().unwrap_or(to))?.sync_all());
    renamed.map_err(|error| DataError::Io(to.to_owned(), error))
}

/// Syncs a directory tree. As root, sets its owner to that of `like`.
fn sync_tree(tree: &Path, like: &Path) -> io::Result<()> {
    let (made, owner) = (fs::symlink_metadata(tree)?, fs::metadata(like)?);
    if made.uid() == 0 && (owner.uid(), owner.gid()) != (made.uid(), made.gid()) {
        lchown(tree, Some(owner.uid()), Some(owner.gid()))?;
    }
    if made.is_dir() {
        for entry in fs::read_dir(tree)? {
            sync_tree(&entry?.path(), like)?;
        }
    }
    File::open(tree)?.sync_all()
}

#[cfg(test)]
#[path = "member_data_tests.rs"]
mod tests;
