//! An error answer of the key interface.

use std::fmt;

use crate::ErrorCode;

/// A refused or failed request: `{"errorCode":..,"message":..,"cause":..,"index":..}`.
///
/// `Display` is etcdctl's form: `100: Key not found (/nope) [1097]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ApiError {
    pub code: ErrorCode,
    /// What the error is about; empty is left out of the answer.
    pub cause: String,
    /// The store index at the answer; 0 where the request itself was wrong.
    pub index: u64,
}

impl ApiError {
    pub fn new(code: ErrorCode, cause: impl Into<String>, index: u64) -> Self {
        Self { code, cause: cause.into(), index }
    }

    /// An error found before the store was asked: its index is 0.
    pub fn in_request(code: ErrorCode, cause: impl Into<String>) -> Self {
        Self::new(code, cause, 0)
    }

    pub fn http_status(&self) -> u16 {
        self.code.http_status()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {} ({}) [{}]", self.code.number(), self.code.message(), self.cause, self.index)
    }
}
