//! The file in which tokens survive a restart: a snapshot of the store, followed by the commands since.
//!
//! A record is its length, CRC-32 and bytes. A truncated record at the end was never acknowledged and is dropped; any
//! other invalid data is an error at startup.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use etcd_store::{Command, DecodeError, Restore, RestoreError, Store, Table};
use thiserror::Error;

use crate::limits::{COMPACT_BYTES, MAX_RECORD_BYTES};

/// Magic number with the format version.
const MAGIC: &[u8; 16] = b"keelson-disc v1\n";
const HEAD_BYTES: usize = 8;
/// Record types; those of a snapshot come first.
const COMMAND: u8 = b'C';
const META: u8 = b'M';
const NODES: u8 = b'N';
const HISTORY: u8 = b'H';

/// Why a journal cannot be opened or written. `at` is the offset of a record in bytes.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum JournalError {
    #[error("cannot use {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is in use by another process")]
    Locked { path: PathBuf },
    #[error("{path} is no journal of this version")]
    Format { path: PathBuf },
    #[error("{path}: the record at byte {at} is damaged")]
    Damaged { path: PathBuf, at: usize },
    #[error("{path}: the record at byte {at} is no command")]
    Command { path: PathBuf, at: usize, source: DecodeError },
    #[error("{path}: its snapshot gives no state")]
    Snapshot { path: PathBuf, source: RestoreError },
}

pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    compact_at: u64,
    /// A write failed. The end of the file is unknown, so nothing is acknowledged any more.
    broken: bool,
    _lock: File,
}

impl Journal {
    /// Opens or creates the file and returns the stored state.
    pub fn open(path: &Path) -> Result<(Self, Store), JournalError> {
        let failed = |source| JournalError::Io { path: path.to_owned(), source };
        let lock_path = path.with_extension("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|source| JournalError::Io { path: lock_path, source })?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| JournalError::Locked { path: path.to_owned() })?;
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let store = if content.is_empty() { Store::new() } else { replay(path, &content)? };
        // Starting with a new snapshot also removes a truncated record.
        let (file, bytes) = write_snapshot(path, &store).map_err(failed)?;
        let compact_at = COMPACT_BYTES.max(bytes * 2);
        Ok((Self { path: path.to_owned(), file, bytes, compact_at, broken: false, _lock: lock }, store))
    }

    /// Durable when it returns.
    pub fn append(&mut self, commands: &[Command]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed; restart after there is room again"));
        }
        let mut out = Vec::new();
        for command in commands {
            let mut bytes = vec![COMMAND];
            command.encode(&mut bytes);
            push_record(&mut out, &bytes);
        }
        let written = self.file.write_all(&out).and_then(|()| self.file.sync_data());
        self.broken = written.is_err();
        self.bytes += out.len() as u64;
        written
    }

    pub fn is_intact(&self) -> bool {
        !self.broken
    }

    /// Rewrites the file if it has grown.
    pub fn compact_if_grown(&mut self, store: &Store) -> io::Result<()> {
        if self.bytes < self.compact_at {
            return Ok(());
        }
        // Until the replacement is complete, it is unknown which file has the name.
        self.broken = true;
        let (file, bytes) = write_snapshot(&self.path, store)?;
        (self.file, self.bytes, self.broken) = (file, bytes, false);
        self.compact_at = COMPACT_BYTES.max(bytes * 2);
        Ok(())
    }
}

/// Written to a temporary file and renamed, so that the name always refers to a complete file.
fn write_snapshot(path: &Path, store: &Store) -> io::Result<(File, u64)> {
    let mut out = MAGIC.to_vec();
    for record in store.snapshot().records() {
        let Some(bytes) = record.bytes else { continue };
        let kind = match record.table {
            Table::Meta => META,
            Table::Nodes => NODES,
            Table::History => HISTORY,
        };
        let mut complete = vec![kind];
        complete.extend_from_slice(&record.key.to_be_bytes());
        complete.extend_from_slice(&bytes);
        push_record(&mut out, &complete);
    }
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(&out)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    Ok((file, out.len() as u64))
}

fn push_record(out: &mut Vec<u8>, bytes: &[u8]) {
    // invariant: a command's values are limited to MAX_BODY_BYTES, a snapshot's records hold one value each.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(bytes).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn replay(path: &Path, content: &[u8]) -> Result<Store, JournalError> {
    if !content.starts_with(MAGIC) {
        return Err(JournalError::Format { path: path.to_owned() });
    }
    let mut restore = Some(Restore::new());
    let mut store = Store::new();
    let snapshot = |source| JournalError::Snapshot { path: path.to_owned(), source };
    let mut at = MAGIC.len();
    while let Some(record) = record_at(path, content, at)? {
        let damaged = || JournalError::Damaged { path: path.to_owned(), at };
        let (kind, rest) = record.split_first().ok_or_else(damaged)?;
        if *kind == COMMAND {
            if let Some(restore) = restore.take() {
                store = restore.finish().map_err(snapshot)?;
            }
            let mut bytes = rest;
            let command = Command::decode(&mut bytes).map_err(|source| JournalError::Command {
                path: path.to_owned(),
                at,
                source,
            })?;
            // Rejected commands are rejected again: the store is deterministic.
            store.apply(&command);
        } else {
            let table = match *kind {
                META => Table::Meta,
                NODES => Table::Nodes,
                HISTORY => Table::History,
                _ => return Err(damaged()),
            };
            let (key, bytes) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
            let restore = restore.as_mut().ok_or_else(damaged)?;
            restore.add(table, u64::from_be_bytes(*key), bytes).map_err(snapshot)?;
        }
        at += HEAD_BYTES + record.len();
    }
    if let Some(restore) = restore.take() {
        store = restore.finish().map_err(snapshot)?;
    }
    Ok(store)
}

/// `None` at the end, and for a truncated last record.
fn record_at<'a>(path: &Path, content: &'a [u8], at: usize) -> Result<Option<&'a [u8]>, JournalError> {
    let rest = &content[at..];
    let Some((head, rest)) = rest.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let [a, b, c, d, e, f, g, h] = *head;
    let (length, crc) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    let damaged = || JournalError::Damaged { path: path.to_owned(), at };
    if length > MAX_RECORD_BYTES {
        return Err(damaged());
    }
    let Some(bytes) = rest.get(..length as usize) else { return Ok(None) };
    if crc32fast::hash(bytes) == crc {
        Ok(Some(bytes))
    } else if rest.len() == bytes.len() {
        // The last record, not all of whose blocks reached the disk.
        Ok(None)
    } else {
        Err(damaged())
    }
}
