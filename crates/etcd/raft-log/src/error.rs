//! The errors, one enum for each operation. They contain no payloads, because errors are logged.

use std::fmt;
use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::entry::LogId;

/// Where a segment differs from what is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The name in the log's directory.
    pub file: String,
    /// In bytes from the start of the file.
    pub offset: u64,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl fmt::Display for Corruption {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, expected, found } = self;
        write!(out, "{file}, offset {offset}: expected {expected}, found {found}")
    }
}

/// Why a log could not be opened. Nothing was written, except possibly with `Io`.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum OpenError {
    #[error("{folder} is in use by another process")]
    Locked { folder: String },
    #[error("options: {0}")]
    Options(String),
    #[error("{doing} {name}")]
    Io { doing: &'static str, name: String, source: io::Error },
    #[error("{file} has format version {found}, supported is {known}")]
    UnknownVersion { file: String, found: u32, known: u32 },
    #[error("{file} belongs to log {found}, the segments before it to log {expected}")]
    Foreign { file: String, found: LogId, expected: LogId },
    #[error("{expected} is missing: the next one there is {found}")]
    Missing { expected: String, found: String },
    #[error("corrupt log, not served: {0}")]
    Corrupt(Corruption),
}

/// The log has failed permanently, because it is unknown what is on disk. Opening it again determines that.
#[derive(Clone, Debug, Error)]
#[error("the log stopped after a failure while {doing} {name}, and is not tried again")]
pub struct Failed {
    pub(crate) doing: &'static str,
    pub(crate) name: String,
    pub(crate) source: Arc<io::Error>,
}

/// Why nothing was appended. An append is all or nothing.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
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

/// Why a flush made nothing durable.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum FlushError {
    /// The pending writes are kept, and the next flush retries them.
    #[error("no space to write {name}")]
    Full { name: String, source: io::Error },
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// Why no entries were returned.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ReadError {
    #[error("index {index} is gone: the first one there is {first}")]
    Purged { index: u64, first: u64 },
    #[error("reading {name}")]
    Io { name: String, source: io::Error },
    #[error("corrupt log, not served: {0}")]
    Corrupt(Corruption),
}

/// Why maintenance is incomplete. The log remains usable, except after `Failed`.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum MaintainError {
    #[error("no space for the next segment")]
    Full { source: io::Error },
    #[error("{doing} {name}")]
    Io { doing: &'static str, name: String, source: io::Error },
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// Whether more disk space would help.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
