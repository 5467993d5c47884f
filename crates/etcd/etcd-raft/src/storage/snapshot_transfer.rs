//! Snapshot transfer: the sender reads a view in chunks, the receiver writes them into a new environment. No thread
//! is blocked while waiting for the other side.

use std::fs;
use std::io;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use heed::{EnvFlags, FlagSetMode};

use crate::codec::{self, Reader};
use crate::limits::SNAPSHOT_CHUNK;
use crate::raft_types::SnapshotMeta;
use crate::storage::checkpoint::{
    Checkpoint, CheckpointError, META_KEY, PART_SUFFIX, PREFIX, RecordSum, View, checksum, generation,
    read_key, sync_folder,
};

/// Snapshots that this process has started to receive. Each has its own directory.
static TRANSFERS_STARTED: AtomicU64 = AtomicU64::new(0);

/// The records of a view in chunks.
pub struct SnapshotChunks {
    view: View,
    /// The last key read.
    last: Option<Vec<u8>>,
    sum: RecordSum,
}

impl SnapshotChunks {
    pub fn new(view: View) -> Self {
        Self { view, last: None, sum: RecordSum::default() }
    }

    /// The next chunk; `None` after the last one, once no record is known to be missing.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, CheckpointError> {
        let View { txn, checkpoint } = &self.view;
        let failed = |error| checkpoint.failed(error);
        let mut chunk = BytesMut::with_capacity(SNAPSHOT_CHUNK);
        let from = self.last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = (from, Bound::Excluded(META_KEY));
        let mut last = None;
        for record in checkpoint.records.range(txn, &range).map_err(failed)? {
            let (key, bytes) = record.map_err(failed)?;
            let value = checkpoint.verify(key, bytes)?;
            self.sum.add(checksum(key, value));
            codec::put_bytes(&mut chunk, key);
            codec::put_bytes(&mut chunk, value);
            last = Some(key.to_vec());
            if chunk.len() >= SNAPSHOT_CHUNK {
                break;
            }
        }
        if last.is_none() {
            let written = checkpoint.read_meta(txn)?.map_or(RecordSum::default(), |(sum, _)| sum);
            let incomplete = || CheckpointError::Incomplete(checkpoint.folder.clone());
            return if self.sum == written { Ok(None) } else { Err(incomplete()) };
        }
        self.last = last;
        Ok(Some(chunk.freeze()))
    }
}

/// Writes the chunks of a snapshot to a new environment. Unless it is installed, its directory is removed on drop.
pub struct SnapshotReceiver {
    part: PathBuf,
    /// `None` after it is closed.
    checkpoint: Option<Checkpoint>,
    sum: RecordSum,
}

impl SnapshotReceiver {
    pub fn begin(current: &Checkpoint) -> Result<Self, CheckpointError> {
        let root = current.folder.parent().unwrap_or(&current.folder).to_owned();
        let number = generation(&current.folder).unwrap_or_default() + 1;
        // The directory of an abandoned transfer may still be in use.
        let transfer = TRANSFERS_STARTED.fetch_add(1, Ordering::Relaxed);
        let part = root.join(format!("{PREFIX}{number:016x}-{transfer:x}{PART_SUFFIX}"));
        let in_folder = |error| CheckpointError::Io(part.clone(), error);
        if part.exists() {
            fs::remove_dir_all(&part).map_err(in_folder)?;
        }
        fs::create_dir(&part).map_err(in_folder)?;
        // From here on the directory is removed on any error.
        let mut receiver = Self { part: part.clone(), checkpoint: None, sum: RecordSum::default() };
        let checkpoint = receiver.checkpoint.insert(Checkpoint::open(part, EnvFlags::empty())?);
        // SAFETY: without syncs a crash may corrupt the environment, but it still has its temporary name and is
        // removed at the next start. `complete` syncs it. Nothing else has it open.
        unsafe { checkpoint.env.set_flags(EnvFlags::NO_SYNC, FlagSetMode::Enable) }
            .map_err(|error| checkpoint.failed(error))?;
        Ok(receiver)
    }

    fn open(&self) -> Result<&Checkpoint, CheckpointError> {
        let closed = || CheckpointError::Io(self.part.clone(), io::ErrorKind::NotConnected.into());
        self.checkpoint.as_ref().ok_or_else(closed)
    }

    /// Writes the records of one chunk.
    pub fn add_chunk(&mut self, chunk: Bytes) -> Result<(), CheckpointError> {
        let mut sum = self.sum;
        let checkpoint = self.open()?;
        let failed = |error| checkpoint.failed(error);
        let mut txn = checkpoint.env.write_txn().map_err(failed)?;
        let mut reader = Reader::new(chunk);
        while !reader.is_empty() {
            let malformed = |error| CheckpointError::Meta(self.part.clone(), error);
            let key = reader.bytes().map_err(malformed)?;
            let value = reader.bytes().map_err(malformed)?;
            if read_key(&key).is_none() {
                return Err(CheckpointError::Record(self.part.clone(), key.to_vec()));
            }
            checkpoint.write(&mut txn, &mut sum, &key, Some(&value))?;
        }
        txn.commit().map_err(failed)?;
        self.sum = sum;
        Ok(())
    }

    /// Writes the log position after the last chunk. Durable on return.
    pub fn complete(&self, meta: &SnapshotMeta) -> Result<(), CheckpointError> {
        let checkpoint = self.open()?;
        let failed = |error| checkpoint.failed(error);
        let mut txn = checkpoint.env.write_txn().map_err(failed)?;
        checkpoint.put_meta(&mut txn, self.sum, meta)?;
        txn.commit().map_err(failed)?;
        checkpoint.env.force_sync().map_err(failed)
    }

    /// Renames the environment, so that a restart uses it.
    pub fn install(mut self) -> Result<Checkpoint, CheckpointError> {
        self.close();
        let whole = self.next_free_folder()?;
        let in_folder = |error| CheckpointError::Io(whole.clone(), error);
        // POSIX: the file is durable, its directory entry is not yet.
        sync_folder(&self.part).map_err(in_folder)?;
        fs::rename(&self.part, &whole).map_err(in_folder)?;
        sync_folder(whole.parent().unwrap_or(&whole)).map_err(in_folder)?;
        Checkpoint::open(whole, EnvFlags::empty())
    }

    /// The next free name: another transfer may have finished meanwhile.
    fn next_free_folder(&self) -> Result<PathBuf, CheckpointError> {
        let root = self.part.parent().unwrap_or(&self.part);
        let in_folder = |error| CheckpointError::Io(root.to_owned(), error);
        let mut newest = 0;
        for entry in fs::read_dir(root).map_err(in_folder)? {
            let path = entry.map_err(in_folder)?.path();
            newest = newest.max(generation(&path).unwrap_or_default());
        }
        Ok(root.join(format!("{PREFIX}{:016x}", newest + 1)))
    }

    fn close(&mut self) {
        if let Some(checkpoint) = self.checkpoint.take() {
            let closing = checkpoint.env.clone().prepare_for_closing();
            drop(checkpoint);
            closing.wait();
        }
    }
}

impl Drop for SnapshotReceiver {
    fn drop(&mut self) {
        self.close();
        match fs::remove_dir_all(&self.part) {
            Ok(()) => {
                tracing::info!("removed a snapshot that was not received to its end: {}", self.part.display())
            }
            // The snapshot was installed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // The next start removes it.
            Err(error) => tracing::warn!("{}: {error}", self.part.display()),
        }
    }
}

/// Removes a replaced environment. Its views stay readable until they are dropped.
pub fn remove(old: &Checkpoint) -> Result<(), CheckpointError> {
    fs::remove_dir_all(&old.folder).map_err(|error| CheckpointError::Io(old.folder.clone(), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::checkpoint;

    fn names(root: &std::path::Path) -> Vec<String> {
        let entries = fs::read_dir(root).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_transfer_that_breaks_off_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let current = checkpoint::open(root.path()).unwrap();
        let before = names(root.path());
        for _ in 0..3 {
            let mut receiver = SnapshotReceiver::begin(&current).unwrap();
            assert_eq!(names(root.path()).len(), before.len() + 1);
            let mut chunk = BytesMut::new();
            codec::put_bytes(&mut chunk, b"no record");
            codec::put_bytes(&mut chunk, b"");
            receiver.add_chunk(chunk.freeze()).unwrap_err();
            drop(receiver);
            assert_eq!(names(root.path()), before);
        }
    }

    /// A slow transfer may finish after one that began later.
    #[test]
    fn two_transfers_begun_from_one_state_have_two_names() {
        let root = tempfile::tempdir().unwrap();
        let current = checkpoint::open(root.path()).unwrap();
        let transfers = [(); 2].map(|()| SnapshotReceiver::begin(&current).unwrap());
        let folders = transfers.map(|transfer| transfer.install().unwrap().folder);
        assert!(folders[0] < folders[1], "{folders:?}");
    }
}
