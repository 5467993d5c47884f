//! Why an update did not happen: for the journal, for the server, and for what is done next.

use omaha::ErrorCode;

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Tried again soon.
    Passing,
    /// The server has too much to do (HTTP 500, 503).
    Busy,
    /// The offer is not taken. The next one may be.
    Refused,
    /// The machine itself: its disk, its files.
    Machine,
    /// Somebody asked for the end.
    Cancelled,
}

/// A failure with its causes as one line.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub kind: Kind,
    pub code: ErrorCode,
    pub message: String,
    /// The version that was to be installed, where there was one.
    pub version: Option<String>,
    /// What a server answered instead of a file.
    pub http_status: Option<u16>,
}

impl Failure {
    pub fn new(kind: Kind, code: ErrorCode, error: &dyn std::error::Error) -> Self {
        Self { kind, code, message: service::error::chain(error), version: None, http_status: None }
    }

    /// Whether it is that no trusted key signed what came.
    #[must_use]
    pub fn is_signature(&self) -> bool {
        self.code == ErrorCode::PAYLOAD_PUBLIC_KEY
    }

    #[must_use]
    pub fn text(kind: Kind, code: ErrorCode, message: String) -> Self {
        Self { kind, code, message, version: None, http_status: None }
    }
}

/// Error codes that the contract lists and `omaha` gives no name (1.2.8).
pub mod code {
    use omaha::ErrorCode;

    pub const GENERIC: ErrorCode = ErrorCode(1);
    pub const INSTALL_DEVICE: ErrorCode = ErrorCode(7);
    pub const KERNEL_DEVICE: ErrorCode = ErrorCode(8);
    pub const STATE: ErrorCode = ErrorCode(20);
    pub const MANIFEST: ErrorCode = ErrorCode(23);
}
