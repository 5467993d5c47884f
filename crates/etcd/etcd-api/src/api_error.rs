//! Error responses of the keys API.

use std::fmt;

use crate::ErrorCode;

/// An error: `{"errorCode":..,"message":..,"cause":..,"index":..}`.
///
/// `Display` is etcdctl's form: `100: Key not found (/nope) [1097]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ApiError {
    /// `errorCode`; `message` and the HTTP status follow from it.
    pub code: ErrorCode,
    /// Omitted from the response if empty.
    pub cause: String,
    /// The store's index; 0 if the request was invalid.
    pub index: u64,
}

impl ApiError {
    /// `index` is 0 for an invalid request.
    pub fn new(code: ErrorCode, cause: impl Into<String>, index: u64) -> Self {
        Self { code, cause: cause.into(), index }
    }

    /// An error found without the store: its index is 0.
    pub fn invalid_request(code: ErrorCode, cause: impl Into<String>) -> Self {
        Self::new(code, cause, 0)
    }

    /// The status of a response with this error.
    pub fn http_status(&self) -> u16 {
        self.code.http_status()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {} ({}) [{}]", self.code.number(), self.code.message(), self.cause, self.index)
    }
}
