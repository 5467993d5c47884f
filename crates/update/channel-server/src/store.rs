//! The database: one record per key in LMDB, whose commits are atomic.
//!
//! A change is reported as committed only once it is on disk. A single thread writes and groups queued changes into
//! one commit.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use heed::types::Bytes as Raw;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, WithoutTls};
use rollout::{LoadedRecord, RecordKey, Track, UpdateState};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use crate::limits::{CHANGES_PER_COMMIT, DATABASE_BYTES};

/// A counter of older versions. Ignored.
const ISSUED: &[u8] = b"!issued";
/// Subfolder of a server's folder.
const DATABASE: &str = "database";
/// LMDB's limit in bytes.
const MAX_KEY: usize = 511;
const SEPARATOR: char = '\0';

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot access the folder {0}")]
    Io(PathBuf, #[source] io::Error),
    #[error("another server uses {0}")]
    InUse(PathBuf),
    #[error("cannot access the database {0}")]
    Database(PathBuf, #[source] heed::Error),
    #[error("the database {0} is damaged at {1:?}: {2}")]
    Damaged(PathBuf, String, String),
    #[error("the database writer has exited")]
    WriterExited,
    #[error("cannot write to the database: {0}")]
    WriteFailed(String),
}

/// Keys with their new values; `None` removes the key.
type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;
type CommitResult = Result<(), Arc<heed::Error>>;
type CommitSender = oneshot::Sender<CommitResult>;

pub struct Store {
    /// `None` only during drop.
    batches: Option<mpsc::UnboundedSender<(Changes, CommitSender)>>,
    writer: Option<JoinHandle<()>>,
    _lock: File,
    /// Makes every commit fail.
    #[cfg(test)]
    pub is_full: Arc<std::sync::atomic::AtomicBool>,
}

/// Changes with a pending commit.
pub struct PendingWrite(Option<oneshot::Receiver<CommitResult>>);

impl PendingWrite {
    /// Returns once the changes are on disk.
    ///
    /// # Errors
    /// The disk is full or failed: none of the changes is on disk.
    pub async fn committed(self) -> Result<(), StoreError> {
        let Some(result) = self.0 else { return Ok(()) };
        let result = result.await.map_err(|_| StoreError::WriterExited)?;
        result.map_err(|error| StoreError::WriteFailed(error.to_string()))
    }
}

/// Unlocks the folder after the last commit.
impl Drop for Store {
    fn drop(&mut self) {
        drop(self.batches.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the database writer panicked");
        }
    }
}

impl Store {
    /// Opens or creates the database in `folder`.
    ///
    /// # Errors
    /// The folder is unusable or in use by another server, or the database is damaged.
    #[allow(unsafe_code, reason = "LMDB maps a file, which only its lock holder may change")]
    pub fn open(folder: &Path) -> Result<(Self, UpdateState), StoreError> {
        let in_folder = |error| StoreError::Io(folder.to_owned(), error);
        fs::create_dir_all(folder).map_err(in_folder)?;
        let lock = File::create(folder.join("lock")).map_err(in_folder)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::InUse(folder.to_owned()),
            TryLockError::Error(error) => in_folder(error),
        })?;
        let path = folder.join(DATABASE);
        fs::create_dir_all(&path).map_err(in_folder)?;
        let failed = |error| StoreError::Database(path.clone(), error);
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(DATABASE_BYTES);
        // SAFETY: the folder is on a local disk, and the lock held by this process excludes other writers.
        let env = unsafe { options.open(&path) }.map_err(failed)?;
        let records = records(&env, &path)?;
        let state = load(&env, records, &path)?;
        let (batches, queue) = mpsc::unbounded_channel();
        #[cfg(test)]
        let is_full = Arc::<std::sync::atomic::AtomicBool>::default();
        let database = Writer {
            env,
            records,
            #[cfg(test)]
            is_full: Arc::clone(&is_full),
        };
        let writer = std::thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || database.run(queue))
            .map_err(in_folder)?;
        let store = Self {
            batches: Some(batches),
            writer: Some(writer),
            _lock: lock,
            #[cfg(test)]
            is_full,
        };
        Ok((store, state))
    }

    /// Reads the database in `folder`, while a server may be running on it. Writes nothing but its slot in LMDB's
    /// reader table.
    ///
    /// # Errors
    /// The database does not exist or is damaged.
    #[allow(unsafe_code, reason = "LMDB maps a file, which only its lock holder may change")]
    pub fn read(folder: &Path) -> Result<UpdateState, StoreError> {
        let path = folder.join(DATABASE);
        let failed = |error| StoreError::Database(path.clone(), error);
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(DATABASE_BYTES);
        // SAFETY: a reader sees one commit, which no writer modifies while the reader is in LMDB's lock file; this
        // process has no other environment open in that folder.
        let env = unsafe { options.flags(EnvFlags::READ_ONLY).open(&path) }.map_err(failed)?;
        load(&env, records(&env, &path)?, &path)
    }

    /// Queues changes. They are committed in this order. Callers await [`PendingWrite::committed`], so the number of
    /// requests bounds the queue.
    pub fn queue(&self, changes: Changes) -> PendingWrite {
        if changes.is_empty() {
            return PendingWrite(None);
        }
        let (sender, result) = oneshot::channel();
        // If the writer has exited, the sender is dropped here and the receiver reports it.
        if let Some(batches) = &self.batches {
            drop(batches.send((changes, sender)));
        }
        PendingWrite(Some(result))
    }
}

/// The table of all records.
fn records(env: &Env<WithoutTls>, path: &Path) -> Result<Database<'static, Raw, Raw>, StoreError> {
    let failed = |error| StoreError::Database(path.to_owned(), error);
    let txn = env.read_txn().map_err(failed)?;
    let records: Option<Database<Raw, Raw>> = env
        .open_databases_and_commit(txn, |opener, txn| {
            opener.open_database(txn, None).map(CommitOrAbort::<_, ()>::Commit)
        })
        .map_err(failed)?
        .unwrap_commit();
    let missing_table =
        || StoreError::Damaged(path.to_owned(), String::new(), "LMDB's own table is missing".to_owned());
    records.ok_or_else(missing_table)
}

/// The database key of a record. Sorts by kind, then by application.
pub fn key(record: &RecordKey) -> Vec<u8> {
    let parts: Vec<String> = match record {
        RecordKey::App(app) => vec!["app".into(), app.clone()],
        RecordKey::Package(app, version, arch) => {
            vec!["package".into(), app.clone(), version.to_string(), arch.clone()]
        }
        RecordKey::Channel(app, track) => vec!["channel".into(), app.clone(), track.to_string()],
        RecordKey::Group(app, track) => vec!["group".into(), app.clone(), track.to_string()],
        RecordKey::Timeline(app, track) => vec!["timeline".into(), app.clone(), track.to_string()],
        RecordKey::Machine(app, id) => vec!["machine".into(), app.clone(), id.clone()],
        RecordKey::Activity(number) => vec!["activity".into(), format!("{number:020}")],
    };
    parts.join(&SEPARATOR.to_string()).into_bytes()
}

/// Encodes the current value of `record`.
///
/// # Errors
/// None in practice: values serialize to JSON, and the length of keys is limited.
pub fn encode_change(
    state: &UpdateState,
    record: &RecordKey,
) -> Result<(Vec<u8>, Option<Vec<u8>>), StoreError> {
    let failed = |why: String| StoreError::WriteFailed(format!("{record:?}: {why}"));
    let value = state.value(record).map(|value| serde_json::to_vec(&value)).transpose();
    let (key, value) = (key(record), value.map_err(|error| failed(error.to_string()))?);
    if key.len() > MAX_KEY {
        return Err(failed("the key is too long".to_owned()));
    }
    Ok((key, value))
}

/// The writer thread's side of the database.
struct Writer {
    env: Env<WithoutTls>,
    records: Database<'static, Raw, Raw>,
    #[cfg(test)]
    is_full: Arc<std::sync::atomic::AtomicBool>,
}

impl Writer {
    fn run(&self, mut queue: mpsc::UnboundedReceiver<(Changes, CommitSender)>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batches = vec![first];
            while batches.len() < CHANGES_PER_COMMIT
                && let Ok(next) = queue.try_recv()
            {
                batches.push(next);
            }
            let result = self.commit(batches.iter().flat_map(|(changes, _)| changes)).map_err(Arc::new);
            if let Err(error) = &result {
                tracing::error!(%error, "cannot write to the database");
            }
            for (_, sender) in batches {
                // A dropped receiver needs no result.
                drop(sender.send(result.clone()));
            }
        }
    }

    /// Each value is prefixed with a checksum: LMDB does not detect bit rot.
    fn commit<'a>(&self, changes: impl Iterator<Item = &'a (Vec<u8>, Option<Vec<u8>>)>) -> heed::Result<()> {
        #[cfg(test)]
        if self.is_full.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull).into());
        }
        let mut txn = self.env.write_txn()?;
        for (key, value) in changes {
            match value {
                Some(value) => {
                    let bytes = [&checksum(key, value).to_le_bytes()[..], value].concat();
                    self.records.put(&mut txn, key, &bytes)?;
                }
                None => drop(self.records.delete(&mut txn, key)?),
            }
        }
        txn.commit()
    }
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

fn load(env: &Env<WithoutTls>, records: Database<Raw, Raw>, path: &Path) -> Result<UpdateState, StoreError> {
    let failed = |error| StoreError::Database(path.to_owned(), error);
    let txn = env.read_txn().map_err(failed)?;
    let (mut state, mut deferred) = (UpdateState::default(), Vec::new());
    for record in records.iter(&txn).map_err(failed)? {
        let (key, bytes) = record.map_err(failed)?;
        let damaged = |why: String| {
            StoreError::Damaged(path.to_owned(), String::from_utf8_lossy(key).replace(SEPARATOR, "/"), why)
        };
        let value = bytes
            .split_first_chunk()
            .filter(|(sum, value)| u32::from_le_bytes(**sum) == checksum(key, value));
        let (_, value) = value.ok_or_else(|| damaged("checksum mismatch".to_owned()))?;
        if key == ISSUED {
            continue;
        }
        state.load(decode(key, value).map_err(damaged)?, &mut deferred);
    }
    state.finish_loading(deferred);
    Ok(state)
}

fn json<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| error.to_string())
}

fn decode(key: &[u8], value: &[u8]) -> Result<LoadedRecord, String> {
    let key = std::str::from_utf8(key).map_err(|error| error.to_string())?;
    let mut parts = key.split(SEPARATOR);
    let kind = parts.next().unwrap_or_default();
    let app = parts.next().unwrap_or_default().to_owned();
    Ok(match kind {
        "app" => LoadedRecord::App(json(value)?),
        "package" => LoadedRecord::Package(app, json(value)?),
        "channel" => LoadedRecord::Channel(app, json(value)?),
        "group" => LoadedRecord::Group(app, json(value)?),
        "timeline" => {
            let track: Track =
                parts.next().unwrap_or_default().parse().map_err(|error| format!("{error}"))?;
            LoadedRecord::Timeline(app, track, json(value)?)
        }
        "machine" => LoadedRecord::Machine(app, json(value)?),
        "activity" => LoadedRecord::Activity(json(value)?),
        other => return Err(format!("unknown record type {other:?}")),
    })
}
