//! Failures of updates: for the journal, the server and the retry schedule.

use omaha::ErrorCode;

/// Determines what follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Retried soon.
    Transient,
    /// The server is overloaded (HTTP 500, 503).
    Busy,
    /// The offer is rejected. The next one may be accepted.
    Rejected,
    /// A failure of the machine, for example its disk.
    Machine,
    /// An operator or a shutdown stopped the update.
    Cancelled,
}

/// A failure, with its chain of causes in one line.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub kind: Kind,
    pub code: ErrorCode,
    pub message: String,
    /// The version to be installed, if known.
    pub version: Option<String>,
    /// The HTTP status of a failed download.
    pub http_status: Option<u16>,
}

impl Failure {
    pub fn new(kind: Kind, code: ErrorCode, error: &dyn std::error::Error) -> Self {
        Self { kind, code, message: service::error::chain(error), version: None, http_status: None }
    }

    /// Whether no trusted key signed the offer.
    #[must_use]
    pub fn is_signature(&self) -> bool {
        self.code == ErrorCode::PAYLOAD_PUBLIC_KEY
    }

    /// Whether the offer, or its metadata, is expired, or older than what was accepted before.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.code == ErrorCode::DEFERRED_PER_POLICY
    }

    #[must_use]
    pub fn text(kind: Kind, code: ErrorCode, message: String) -> Self {
        Self { kind, code, message, version: None, http_status: None }
    }
}

/// Error codes of the contract (1.2.8) without a name in `omaha`.
pub mod code {
    use omaha::ErrorCode;

    pub const GENERIC: ErrorCode = ErrorCode(1);
    pub const INSTALL_DEVICE: ErrorCode = ErrorCode(7);
    pub const KERNEL_DEVICE: ErrorCode = ErrorCode(8);
    pub const STATE: ErrorCode = ErrorCode(20);
    pub const MANIFEST: ErrorCode = ErrorCode(23);
}
