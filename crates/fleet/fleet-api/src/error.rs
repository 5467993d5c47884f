//! Error responses.

use serde::{Deserialize, Serialize};

/// `{"error":{"code":404,"message":"unit does not exist"}}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDocument {
    /// Status and message.
    pub error: ErrorBody,
}

/// The original's `error` object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// HTTP status.
    pub code: u16,
    /// May be empty.
    #[serde(default)]
    pub message: String,
}

impl ErrorDocument {
    /// `code` is the HTTP status.
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { error: ErrorBody { code, message: message.into() } }
    }

    /// Response to every request while the store is unreachable.
    pub fn no_store() -> Self {
        Self::new(503, "fleet server unable to communicate with etcd")
    }
}
