//! Checkpoints of the state: an LMDB environment that holds the records of `etcd-store` and, in the same transaction,
//! the log position they correspond to. The log makes writes durable, not the checkpoint. An environment is replaced
//! only as a whole, by a new directory.
//!
//! LMDB does not detect bit rot. Each record is stored with a checksum, and the sum of all checksums is stored with
//! the log position to detect missing records.
//!
//! The file is long because writing, reading and replacing an environment share the record layout.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes, BytesMut};
use etcd_store::{Changes, Restore, Store, Table};
use heed::types::Bytes as Raw;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, RoTxn, RwTxn, WithoutTls};

use crate::codec::{self, Reader};
use crate::limits::{LOW_DISK_SPACE_BYTES, MAX_DATABASE_BYTES};
use crate::raft_types::SnapshotMeta;

const FORMAT: u8 = 2;
/// Sorts after the tables of `etcd-store`.
pub const META_KEY: &[u8] = b"\xffraft";
pub const PREFIX: &str = "state-";
pub const PART_SUFFIX: &str = ".part";

#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("the state's folder {0}")]
    Io(PathBuf, #[source] io::Error),
    #[error("the state's database {0}")]
    Database(PathBuf, #[source] heed::Error),
    #[error("the state in {0} has format {1}, supported is {FORMAT}")]
    Format(PathBuf, u8),
    #[error("the state in {0} names no place in the log")]
    Meta(PathBuf, #[source] codec::DecodeError),
    #[error("the state in {0} has an unknown record {1:02x?}")]
    Record(PathBuf, Vec<u8>),
    #[error("the state in {0} is damaged: record {1:02x?} does not fit its checksum")]
    Damaged(PathBuf, Vec<u8>),
    #[error("the state in {0} is damaged: its records are not those that were written")]
    Incomplete(PathBuf),
    #[error("the state in {0}")]
    Restore(PathBuf, #[source] etcd_store::RestoreError),
}

impl CheckpointError {
    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        let Some((error, path)) = self.disk_error() else { return false };
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => true,
            _ => is_eio(&error) && is_almost_full(path),
        }
    }

    /// Whether the error may come from a short write: LMDB reports EIO both for a full and for a failing disk. A
    /// retry rewrites all pages, so it also repairs a lost write-back.
    pub fn may_be_short_write(&self) -> bool {
        self.disk_error().is_some_and(|(error, _)| is_eio(&error))
    }

    fn disk_error(&self) -> Option<(io::Error, &Path)> {
        let code = match self {
            Self::Io(_, error) | Self::Database(_, heed::Error::Io(error)) => error.raw_os_error()?,
            Self::Database(_, heed::Error::Mdb(heed::MdbError::Other(code))) => *code,
            _ => return None,
        };
        let (Self::Io(path, _) | Self::Database(path, _)) = self else { return None };
        Some((io::Error::from_raw_os_error(code), path))
    }
}

fn is_eio(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EIO)
}

/// Whether the largest write may not fit.
fn is_almost_full(path: &Path) -> bool {
    let stat = nix::sys::statvfs::statvfs(path);
    stat.is_ok_and(|stat| stat.blocks_available() * stat.fragment_size() < LOW_DISK_SPACE_BYTES)
}

impl From<CheckpointError> for io::Error {
    fn from(error: CheckpointError) -> Self {
        io::Error::other(error)
    }
}

/// An environment. Clones share it.
#[derive(Clone)]
pub struct Checkpoint {
    pub env: Env<WithoutTls>,
    pub records: Database<'static, Raw, Raw>,
    pub folder: PathBuf,
}

/// Opens the newest complete environment below `root`, or creates one. Removes leftovers.
pub fn open(root: &Path) -> Result<Checkpoint, CheckpointError> {
    let in_folder = |error| CheckpointError::Io(root.to_owned(), error);
    fs::create_dir_all(root).map_err(in_folder)?;
    let mut complete = Vec::new();
    for entry in fs::read_dir(root).map_err(in_folder)? {
        let path = entry.map_err(in_folder)?.path();
        match generation(&path) {
            Some(number) => complete.push((number, path)),
            None if is_part(&path) => fs::remove_dir_all(&path).map_err(in_folder)?,
            None => {}
        }
    }
    complete.sort();
    match complete.pop() {
        Some((_, newest)) => {
            for (_, older) in complete {
                fs::remove_dir_all(&older).map_err(in_folder)?;
            }
            Checkpoint::open(newest, EnvFlags::empty())
        }
        None => {
            let folder = root.join(format!("{PREFIX}{:016x}", 1));
            fs::create_dir(&folder).map_err(in_folder)?;
            let checkpoint = Checkpoint::open(folder, EnvFlags::empty())?;
            // POSIX: the directory entries are not durable yet.
            for created in [checkpoint.folder.as_path(), root] {
                sync_folder(created).map_err(in_folder)?;
            }
            Ok(checkpoint)
        }
    }
}

/// Opens the newest complete environment below `root` for reading; `None` if there is none. A running member may
/// write to it concurrently, which does not affect a view, or replace it, which is an error.
pub fn open_read_only(root: &Path, in_use: bool) -> Result<Option<Checkpoint>, CheckpointError> {
    let in_folder = |error| CheckpointError::Io(root.to_owned(), error);
    let mut newest = None;
    for entry in fs::read_dir(root).map_err(in_folder)? {
        let path = entry.map_err(in_folder)?.path();
        newest = newest.max(generation(&path).map(|number| (number, path)));
    }
    // Readers register in the lock file, which only matters if there is a writer.
    let lock = if in_use { EnvFlags::empty() } else { EnvFlags::NO_LOCK };
    newest.map(|(_, folder)| Checkpoint::open(folder, EnvFlags::READ_ONLY | lock)).transpose()
}

pub fn generation(path: &Path) -> Option<u64> {
    let number = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    u64::from_str_radix(number, 16).ok()
}

fn is_part(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with(PREFIX) && name.ends_with(PART_SUFFIX)
}

pub fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

impl Checkpoint {
    #[allow(unsafe_code, reason = "LMDB maps a file, which only its lock holder may change")]
    pub fn open(folder: PathBuf, flags: EnvFlags) -> Result<Self, CheckpointError> {
        let failed = |error| CheckpointError::Database(folder.clone(), error);
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(MAX_DATABASE_BYTES);
        // SAFETY: without LMDB's lock there is no writer, because this process holds the log's lock.
        unsafe { options.flags(flags) };
        // SAFETY: the directory is local and opened at most once in this process. The holder of the log's lock is the
        // only writer, as LMDB requires.
        let env = unsafe { options.open(&folder) }.map_err(failed)?;
        let txn = env.read_txn().map_err(failed)?;
        let records = env
            .open_databases_and_commit(txn, |opener, txn| {
                opener.open_database::<Raw, Raw>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
            })
            .map_err(failed)?
            .unwrap_commit();
        // invariant: LMDB's unnamed database always exists.
        #[allow(clippy::expect_used)]
        let records = records.expect("the unnamed database exists");
        Ok(Self { env, records, folder })
    }

    pub fn disk_bytes(&self) -> u64 {
        self.env.real_disk_size().unwrap_or_default()
    }

    pub fn failed(&self, error: heed::Error) -> CheckpointError {
        CheckpointError::Database(self.folder.clone(), error)
    }

    /// Writes the changes and the log position that they lead to. Durable on return.
    pub fn commit(&self, changes: Changes, meta: &SnapshotMeta) -> Result<(), CheckpointError> {
        let mut txn = self.env.write_txn().map_err(|error| self.failed(error))?;
        let mut sum = match self.read_meta(&txn)? {
            Some((sum, _)) => sum,
            None => RecordSum::default(),
        };
        for record in changes.records() {
            let key = key(record.table, record.key);
            self.write(&mut txn, &mut sum, &key, record.bytes.as_deref())?;
        }
        self.put_meta(&mut txn, sum, meta)?;
        txn.commit().map_err(|error| self.failed(error))?;
        // A killed backup process would otherwise keep pages from being reused.
        self.env.clear_stale_readers().map(drop).map_err(|error| self.failed(error))
    }

    /// Closes the environment, so that its files can be moved.
    pub fn close(self) {
        let closing = self.env.clone().prepare_for_closing();
        drop(self);
        closing.wait();
    }

    /// Writes or removes one record and updates the sum of checksums.
    pub fn write(
        &self,
        txn: &mut RwTxn<'_>,
        sum: &mut RecordSum,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), CheckpointError> {
        let before = self.records.get(txn, key).map_err(|error| self.failed(error))?;
        if let Some((checksum, _)) = before.and_then(<[u8]>::split_first_chunk) {
            sum.remove(u32::from_le_bytes(*checksum));
        }
        let written = match value {
            Some(value) => {
                let checksum = checksum(key, value);
                sum.add(checksum);
                let bytes = [&checksum.to_le_bytes()[..], value].concat();
                self.records.put(txn, key, &bytes)
            }
            None => self.records.delete(txn, key).map(drop),
        };
        written.map_err(|error| self.failed(error))
    }

    /// Format, checksum of the rest, sum of the records' checksums, log position.
    pub fn put_meta(
        &self,
        txn: &mut RwTxn<'_>,
        sum: RecordSum,
        meta: &SnapshotMeta,
    ) -> Result<(), CheckpointError> {
        let mut rest = BytesMut::with_capacity(256);
        rest.put_u64(sum.0);
        codec::put_snapshot_meta(&mut rest, meta);
        let mut out = BytesMut::with_capacity(256);
        out.put_u8(FORMAT);
        out.put_u32_le(checksum(META_KEY, &rest));
        out.extend_from_slice(&rest);
        self.records.put(txn, META_KEY, &out).map_err(|error| self.failed(error))
    }

    pub fn read_meta(&self, txn: &RoTxn<'_>) -> Result<Option<(RecordSum, SnapshotMeta)>, CheckpointError> {
        let bytes = self.records.get(txn, META_KEY).map_err(|error| self.failed(error))?;
        let Some((format, bytes)) = bytes.and_then(<[u8]>::split_first) else { return Ok(None) };
        let folder = || self.folder.clone();
        if *format != FORMAT {
            return Err(CheckpointError::Format(folder(), *format));
        }
        let rest = self.verify(META_KEY, bytes)?;
        let malformed = |error| CheckpointError::Meta(folder(), error);
        let mut reader = Reader::new(Bytes::copy_from_slice(rest));
        let sum = RecordSum(reader.u64().map_err(malformed)?);
        Ok(Some((sum, reader.snapshot_meta().map_err(malformed)?)))
    }

    /// Verifies a record's checksum and returns its value.
    pub fn verify<'a>(&self, key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], CheckpointError> {
        match bytes.split_first_chunk() {
            Some((stored, value)) if u32::from_le_bytes(*stored) == checksum(key, value) => Ok(value),
            _ => Err(CheckpointError::Damaged(self.folder.clone(), key.to_vec())),
        }
    }

    /// A consistent view that later commits do not change.
    pub fn view(&self) -> Result<View, CheckpointError> {
        let txn = self.env.clone().static_read_txn().map_err(|error| self.failed(error))?;
        Ok(View { txn, checkpoint: self.clone() })
    }
}

pub fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

/// The sum of all records' checksums, each mixed so that one missing record cannot be offset by two others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordSum(u64);

impl RecordSum {
    fn spread(checksum: u32) -> u64 {
        // The finalizer of splitmix64.
        let mixed = u64::from(checksum).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 27)
    }

    pub fn add(&mut self, checksum: u32) {
        self.0 = self.0.wrapping_add(Self::spread(checksum));
    }

    fn remove(&mut self, checksum: u32) {
        self.0 = self.0.wrapping_sub(Self::spread(checksum));
    }
}

fn key(table: Table, key: u64) -> [u8; 9] {
    let mut bytes = [0; 9];
    bytes[0] = table as u8;
    bytes[1..].copy_from_slice(&key.to_be_bytes());
    bytes
}

/// A consistent view of an environment. It may be moved to another thread, but not shared.
pub struct View {
    pub txn: RoTxn<'static, WithoutTls>,
    pub checkpoint: Checkpoint,
}

impl View {
    /// The log position and membership; `None` before the first commit.
    pub fn meta(&self) -> Result<Option<SnapshotMeta>, CheckpointError> {
        Ok(self.checkpoint.read_meta(&self.txn)?.map(|(_, meta)| meta))
    }

    /// Visits all records of `etcd-store` in key order. Each is verified; missing records are only detected at the
    /// end.
    fn for_each(
        &self,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let failed = |error| self.checkpoint.failed(error);
        let mut sum = RecordSum::default();
        for record in self.checkpoint.records.iter(&self.txn).map_err(failed)? {
            let (key, bytes) = record.map_err(failed)?;
            if key != META_KEY {
                let value = self.checkpoint.verify(key, bytes)?;
                sum.add(checksum(key, value));
                visit(key, value)?;
            }
        }
        let written = self.checkpoint.read_meta(&self.txn)?.map_or(RecordSum::default(), |(sum, _)| sum);
        if sum == written {
            return Ok(());
        }
        Err(CheckpointError::Incomplete(self.checkpoint.folder.clone()))
    }

    pub fn restore(&self) -> Result<Store, CheckpointError> {
        let folder = || self.checkpoint.folder.clone();
        let mut restore = Restore::new();
        self.for_each(|key, value| {
            let unknown = || CheckpointError::Record(folder(), key.to_vec());
            let (table, number) = read_key(key).ok_or_else(unknown)?;
            restore.add(table, number, value).map_err(|error| CheckpointError::Restore(folder(), error))
        })?;
        restore.finish().map_err(|error| CheckpointError::Restore(folder(), error))
    }
}

pub fn read_key(key: &[u8]) -> Option<(Table, u64)> {
    let (first, number) = key.split_first()?;
    let table = Table::ALL.into_iter().find(|table| *table as u8 == *first)?;
    Some((table, u64::from_be_bytes(number.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_distinguished_from_a_failing_one() {
        let folder = tempfile::tempdir().unwrap();
        let of = |code| {
            let error = heed::Error::Mdb(heed::MdbError::Other(code));
            CheckpointError::Database(folder.path().to_owned(), error)
        };
        assert!(of(nix::libc::ENOSPC).is_full() && !of(nix::libc::ENOSPC).may_be_short_write());
        // This disk has free space.
        assert!(of(nix::libc::EIO).may_be_short_write() && !of(nix::libc::EIO).is_full());
        assert!(!of(nix::libc::EROFS).may_be_short_write() && !of(nix::libc::EROFS).is_full());
        let quota =
            CheckpointError::Io(folder.path().to_owned(), io::Error::from_raw_os_error(nix::libc::EDQUOT));
        assert!(quota.is_full());
    }
}
