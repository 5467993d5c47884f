//! Errors for provider data that is unusable as a whole.

use crate::encoding::DecodeError;
use crate::yaml::ReadError;

/// Provider text in messages is truncated to this length.
const MAX_QUOTED_CHARS: usize = 80;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("it is not well-formed XML (line {line}, column {column})")]
    Xml { line: u32, column: u32 },
    #[error("it is not YAML (line {line}, column {column})")]
    Yaml { line: u32, column: u32 },
    #[error("it is not JSON (line {line}, column {column})")]
    Json { line: usize, column: usize },
    #[error("it is no mapping")]
    NotMapping,
    #[error("it has no {0}")]
    Missing(&'static str),
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("its user-data cannot be decoded")]
    Content(#[from] DecodeError),
    #[error("malformed public key: {0:?}")]
    PublicKey(String),
    #[error("couldn't parse {0:?} as IP address")]
    Address(String),
    /// One of several documents, or a value in it.
    #[error("{what} is not valid")]
    In { what: &'static str, source: Box<Malformed> },
}

impl Malformed {
    pub(super) fn in_document(self, what: &'static str) -> Self {
        Self::In { what, source: Box::new(self) }
    }
}

/// Keeps only the position: the message may quote the text.
impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        Self::Json { line: error.line(), column: error.column() }
    }
}

/// Keeps only the position: the message may quote the text.
impl From<ReadError> for Malformed {
    fn from(error: ReadError) -> Self {
        Self::Yaml { line: error.location.line, column: error.location.column }
    }
}

/// Truncates provider text for messages, so that an invalid response does not flood the log.
pub(super) fn truncate_for_message(text: &str) -> String {
    text.chars().take(MAX_QUOTED_CHARS).collect()
}
