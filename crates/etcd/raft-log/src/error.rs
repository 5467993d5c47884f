//! What can go wrong, one enum an operation. It must never hold payloads: errors are printed.

use std::fmt;
use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::entry::LogId;

/// Where a segment is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    pub file: String,
    /// In bytes from the file's start.
    pub offset: u64,
    pub expected: String,
    pub found: String,
}

impl fmt::Display for Corruption {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, expected, found } = self;
        write!(out, "{file}, offset {offset}: expected {expected}, found {found}")
    }
}

/// Why a log was not opened. But for `Io`, nothing was written then.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("{folder} is in use by another process")]
    Locked { folder: String },
    #[error("options: {0}")]
    Options(String),
    #[error("{doing} {name}")]
    Io { doing: &'static str, name: String, source: io::Error },
    #[error("{file} has format version {found}; this program knows version {known}")]
    UnknownVersion { file: String, found: u32, known: u32 },
    #[error("{file} belongs to log {found}, the segments before it to log {expected}")]
    Foreign { file: String, found: LogId, expected: LogId },
    #[error("{expected} is missing: the next one there is {found}")]
    Missing { expected: String, found: String },
    #[error("corrupt log, not served: {0}")]
    Corrupt(Corruption),
}

/// The log stopped for good: what is on disk is not known any more. Open it again to find out.
#[derive(Clone, Debug, Error)]
#[error("the log stopped after a failure while {doing} {name}, and is not tried again")]
pub struct Failed {
    pub doing: &'static str,
    pub name: String,
    pub source: Arc<io::Error>,
}

/// Why nothing was appended: of what was given together, all is in or nothing.
#[derive(Debug, Error)]
pub enum AppendError {
    #[error("entry {given} does not follow: expected {expected}")]
    Gap { given: u64, expected: u64 },
    #[error("{given} bytes are too long: at most {most}")]
    TooLong { given: usize, most: usize },
    #[error("index {index} is purged already, up to {purged}")]
    Purged { index: u64, purged: u64 },
    /// Flush first.
    #[error("{bytes} bytes wait for a flush, at most {most} may")]
    Backlog { bytes: usize, most: usize },
    #[error(transparent)]
    Failed(#[from] Failed),
}

#[derive(Debug, Error)]
pub enum FlushError {
    /// What waits goes on waiting; the next flush writes it when there is room.
    #[error("no space to write {name}")]
    Full { name: String, source: io::Error },
    #[error(transparent)]
    Failed(#[from] Failed),
}

#[derive(Debug, Error)]
pub enum ReadError {
    #[error("index {index} is gone: the first one there is {first}")]
    Purged { index: u64, first: u64 },
    #[error("reading {name}")]
    Io { name: String, source: io::Error },
    #[error("corrupt log, not served: {0}")]
    Corrupt(Corruption),
}

#[derive(Debug, Error)]
pub enum MaintainError {
    #[error("no space for the next segment")]
    Full { source: io::Error },
    #[error("{doing} {name}")]
    Io { doing: &'static str, name: String, source: io::Error },
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// Whether more space would help.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
