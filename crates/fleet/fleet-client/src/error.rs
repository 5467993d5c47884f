//! Errors of requests, with the original's messages.

/// Why a call failed. The texts are those of the original's client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    /// No response.
    #[error("{method} {url}: {cause}")]
    Transport { method: String, url: String, cause: String },
    /// An error response with a message.
    #[error("googleapi: Error {code}: {message}")]
    Refused { code: u16, message: String },
    /// An error response without a message.
    #[error("googleapi: got HTTP response code {code} with body: {body}")]
    Status { code: u16, body: String },
    #[error("{0} is not a response of a fleet API: {1}")]
    InvalidJson(String, String),
    #[error("the list of {0} has no end")]
    TooManyPages(&'static str),
}

impl Error {
    /// Status of the response, if any.
    pub fn code(&self) -> Option<u16> {
        match self {
            Error::Refused { code, .. } | Error::Status { code, .. } => Some(*code),
            Error::Transport { .. } | Error::InvalidJson(..) | Error::TooManyPages(_) => None,
        }
    }

    /// Whether a retry may succeed: there was no response, or a server error.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Transport { .. } => true,
            other => other.code().is_some_and(|code| code >= 500),
        }
    }

    /// Whether the server does not have the path, as it lacks the extensions.
    pub fn is_unknown_path(&self) -> bool {
        match self {
            Error::Refused { code: 404, message } => message.is_empty(),
            Error::Status { code: 404, .. } => true,
            _ => false,
        }
    }
}
