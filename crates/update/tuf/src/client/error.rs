//! Why an update ended.

use crate::date::Date;
use crate::digests::Mismatch;
use crate::metadata::MetadataError;
use crate::names::NameError;
use crate::threshold::NotSigned;

/// A file that was not accepted, and why. What was trusted before still is.
#[derive(Debug, thiserror::Error)]
#[error("cannot accept {file}")]
pub struct Error {
    /// As requested from the server, or `trusted ROLE` for a file of the store.
    pub file: String,
    /// Why.
    #[source]
    pub cause: Cause,
}

/// Why a file was not accepted.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Cause {
    #[error("it cannot be fetched")]
    Fetch(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the store of trusted metadata failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the repository does not have it")]
    Missing,
    #[error("there is no trusted root: a client needs one from elsewhere")]
    NoRoot,
    #[error("more than {limit} bytes")]
    TooLong { limit: u64 },
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    #[error(transparent)]
    Malformed(#[from] MetadataError),
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    #[error("version {found}, expected {expected}")]
    Version { found: u64, expected: u64 },
    #[error("rollback: version {found}, {trusted} is trusted")]
    Rollback { found: u64, trusted: u64 },
    #[error("rollback: it lists version {found} of {meta}, {trusted} is trusted")]
    ListedRollback { meta: String, found: u64, trusted: u64 },
    #[error("it no longer lists {meta}")]
    Removed { meta: String },
    #[error("expired at {expired}")]
    Expired { expired: Date },
    #[error("valid until {expires}, which is more than {limit} seconds ahead")]
    ValidTooLong { expires: Date, limit: u64 },
    #[error("the snapshot does not list it")]
    NotInSnapshot,
    #[error("more than {limit} roles are delegated to")]
    TooManyRoles { limit: usize },
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Cause {
    /// Adds the place.
    pub(super) fn of(self, file: impl Into<String>) -> Error {
        Error { file: file.into(), cause: self }
    }
}
