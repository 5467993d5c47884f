//! The database: each record of the fleet under its key, in LMDB, whose commits a crash cannot tear.
//!
//! It must never answer that a change is kept before it is on disk. One thread writes: what waits for it goes into one
//! commit.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use heed::types::Bytes as Raw;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, WithoutTls};
use rollout::{Fleet, Loaded, Record, Track};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use crate::limits::{BATCHES, DATABASE_BYTES};

/// The highest time that a timestamp was issued at.
const ISSUED: &[u8] = b"!issued";
/// In a server's folder.
const DATABASE: &str = "database";
/// LMDB's limit, in bytes.
const MAX_KEY: usize = 511;
const SEPARATOR: char = '\0';

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the folder {0}")]
    Io(PathBuf, #[source] io::Error),
    #[error("another server works on {0}")]
    InUse(PathBuf),
    #[error("the database {0}")]
    Database(PathBuf, #[source] heed::Error),
    #[error("the database {0} is damaged at {1:?}: {2}")]
    Damaged(PathBuf, String, String),
    #[error("the writer of the database has ended")]
    Ended,
    #[error("what changed could not be written: {0}")]
    Written(String),
}

/// Keys with their new values; `None` removes.
type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;
type Written = Result<(), Arc<heed::Error>>;
type Done = oneshot::Sender<Written>;

pub struct Store {
    /// Taken only at the end.
    batches: Option<mpsc::UnboundedSender<(Changes, Done)>>,
    writer: Option<JoinHandle<()>>,
    _lock: File,
    /// Makes every commit fail.
    #[cfg(test)]
    pub is_full: Arc<std::sync::atomic::AtomicBool>,
}

/// Changes with a pending commit.
pub struct Queued(Option<oneshot::Receiver<Written>>);

impl Queued {
    /// On disk on return.
    ///
    /// # Errors
    /// The disk is full or failed: none of the changes is on disk.
    pub async fn kept(self) -> Result<(), StoreError> {
        let Some(written) = self.0 else { return Ok(()) };
        let written = written.await.map_err(|_| StoreError::Ended)?;
        written.map_err(|error| StoreError::Written(error.to_string()))
    }
}

/// The folder is let go when everything is written.
impl Drop for Store {
    fn drop(&mut self) {
        drop(self.batches.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the database broke down");
        }
    }
}

/// What was found in the database.
pub struct Found {
    pub fleet: Fleet,
    pub issued: u64,
}

impl Store {
    /// Opens or makes the database in `folder`.
    ///
    /// # Errors
    /// The folder is no good, in use by another server, or the database is damaged.
    pub fn open(folder: &Path) -> Result<(Self, Found), StoreError> {
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
        // SAFETY: the folder is on a local disk, and nobody else writes to it: the lock above is held until the end.
        let env = unsafe { options.open(&path) }.map_err(failed)?;
        let records = records(&env, &path)?;
        let found = load(&env, records, &path)?;
        let (batches, waiting) = mpsc::unbounded_channel();
        #[cfg(test)]
        let is_full = Arc::<std::sync::atomic::AtomicBool>::default();
        let database = Records {
            env,
            records,
            #[cfg(test)]
            is_full: Arc::clone(&is_full),
        };
        let writer = std::thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || database.write_all(waiting))
            .map_err(in_folder)?;
        let store = Self {
            batches: Some(batches),
            writer: Some(writer),
            _lock: lock,
            #[cfg(test)]
            is_full,
        };
        Ok((store, found))
    }

    /// What the database in `folder` has at this moment, beside a server that may be running. Writes nothing but its
    /// place in LMDB's table of readers.
    ///
    /// # Errors
    /// There is no database, or it is damaged.
    pub fn look(folder: &Path) -> Result<Found, StoreError> {
        let path = folder.join(DATABASE);
        let failed = |error| StoreError::Database(path.clone(), error);
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(DATABASE_BYTES);
        // SAFETY: a reader's view is one commit, which no writer changes while LMDB's own lock file knows the reader;
        // this process has no other one of that folder open.
        let env = unsafe { options.flags(EnvFlags::READ_ONLY).open(&path) }.map_err(failed)?;
        load(&env, records(&env, &path)?, &path)
    }

    /// Changes are committed in the order in which they are queued. Callers await [`Queued::kept`]: the number of requests
    /// bounds the queue.
    pub fn queue(&self, changes: Changes) -> Queued {
        if changes.is_empty() {
            return Queued(None);
        }
        let (done, written) = oneshot::channel();
        // If the writer has exited, the sender is dropped here and the receiver reports it.
        if let Some(batches) = &self.batches {
            drop(batches.send((changes, done)));
        }
        Queued(Some(written))
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
    let unnamed =
        || StoreError::Damaged(path.to_owned(), String::new(), "LMDB's own table is missing".to_owned());
    records.ok_or_else(unnamed)
}

pub fn issued(at: u64) -> (Vec<u8>, Option<Vec<u8>>) {
    (ISSUED.to_vec(), Some(at.to_string().into_bytes()))
}

/// Sorted by kind, then by application.
pub fn key(record: &Record) -> Vec<u8> {
    let parts: Vec<String> = match record {
        Record::App(app) => vec!["app".into(), app.clone()],
        Record::Package(app, version, arch) => {
            vec!["package".into(), app.clone(), version.to_string(), arch.clone()]
        }
        Record::Channel(app, track) => vec!["channel".into(), app.clone(), track.to_string()],
        Record::Group(app, track) => vec!["group".into(), app.clone(), track.to_string()],
        Record::Timeline(app, track) => vec!["timeline".into(), app.clone(), track.to_string()],
        Record::Machine(app, id) => vec!["machine".into(), app.clone(), id.clone()],
        Record::Activity(number) => vec!["activity".into(), format!("{number:020}")],
    };
    parts.join(&SEPARATOR.to_string()).into_bytes()
}

/// What the fleet has of `record` now, to be written.
///
/// # Errors
/// Never in practice: values are text, numbers and lists of them, and the parts of keys have length limits.
pub fn change(fleet: &Fleet, record: &Record) -> Result<(Vec<u8>, Option<Vec<u8>>), StoreError> {
    let failed = |why: String| StoreError::Written(format!("{record:?}: {why}"));
    let value = fleet.value(record).map(|value| serde_json::to_vec(&value)).transpose();
    let (key, value) = (key(record), value.map_err(|error| failed(error.to_string()))?);
    if key.len() > MAX_KEY {
        return Err(failed("its name is too long".to_owned()));
    }
    Ok((key, value))
}

/// The database as the writer thread uses it.
struct Records {
    env: Env<WithoutTls>,
    records: Database<'static, Raw, Raw>,
    #[cfg(test)]
    is_full: Arc<std::sync::atomic::AtomicBool>,
}

impl Records {
    fn write_all(&self, mut waiting: mpsc::UnboundedReceiver<(Changes, Done)>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut batches = vec![first];
            while batches.len() < BATCHES
                && let Ok(next) = waiting.try_recv()
            {
                batches.push(next);
            }
            let written = self.commit(batches.iter().flat_map(|(changes, _)| changes)).map_err(Arc::new);
            if let Err(error) = &written {
                tracing::error!(%error, "the database could not be written");
            }
            for (_, done) in batches {
                // A dropped receiver needs no result.
                drop(done.send(written.clone()));
            }
        }
    }

    /// A value stands behind a checksum: LMDB does not notice a bit that turned on its disk.
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

fn load(env: &Env<WithoutTls>, records: Database<Raw, Raw>, path: &Path) -> Result<Found, StoreError> {
    let failed = |error| StoreError::Database(path.to_owned(), error);
    let txn = env.read_txn().map_err(failed)?;
    let (mut fleet, mut unplaced, mut issued) = (Fleet::default(), Vec::new(), 0);
    for record in records.iter(&txn).map_err(failed)? {
        let (key, bytes) = record.map_err(failed)?;
        let damaged = |why: String| {
            StoreError::Damaged(path.to_owned(), String::from_utf8_lossy(key).replace(SEPARATOR, "/"), why)
        };
        let value = bytes
            .split_first_chunk()
            .filter(|(sum, value)| u32::from_le_bytes(**sum) == checksum(key, value));
        let (_, value) = value.ok_or_else(|| damaged("it does not fit its checksum".to_owned()))?;
        if key == ISSUED {
            issued = json(value).map_err(damaged)?;
            continue;
        }
        fleet.load(loaded(key, value).map_err(damaged)?, &mut unplaced);
    }
    fleet.finish_loading(unplaced);
    Ok(Found { fleet, issued })
}

fn json<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| error.to_string())
}

fn loaded(key: &[u8], value: &[u8]) -> Result<Loaded, String> {
    let key = std::str::from_utf8(key).map_err(|error| error.to_string())?;
    let mut parts = key.split(SEPARATOR);
    let kind = parts.next().unwrap_or_default();
    let app = parts.next().unwrap_or_default().to_owned();
    Ok(match kind {
        "app" => Loaded::App(json(value)?),
        "package" => Loaded::Package(app, json(value)?),
        "channel" => Loaded::Channel(app, json(value)?),
        "group" => Loaded::Group(app, json(value)?),
        "timeline" => {
            let track: Track =
                parts.next().unwrap_or_default().parse().map_err(|error| format!("{error}"))?;
            Loaded::Timeline(app, track, json(value)?)
        }
        "machine" => Loaded::Machine(app, json(value)?),
        "activity" => Loaded::Activity(json(value)?),
        other => return Err(format!("{other:?} is of no known kind")),
    })
}
