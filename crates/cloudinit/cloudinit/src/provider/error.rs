//! Why nothing of what a provider gave can be used.

use crate::encoding::DecodeError;
use crate::yaml::ReadError;

/// Text of a provider that messages show is cut to this.
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
    NoMapping,
    #[error("it is not UTF-8")]
    NotText,
    #[error("its user-data cannot be decoded")]
    Content(#[from] DecodeError),
    #[error("malformed public key: {0:?}")]
    PublicKey(String),
    #[error("couldn't parse {0:?} as IP address")]
    Address(String),
    /// One of the documents that were given, or a value in it.
    #[error("{what} is not valid")]
    In { what: &'static str, source: Box<Malformed> },
}

impl Malformed {
    pub(super) fn of(self, what: &'static str) -> Self {
        Self::In { what, source: Box::new(self) }
    }
}

/// Its message may quote the text.
impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        Self::Json { line: error.line(), column: error.column() }
    }
}

/// Its message may quote the text.
impl From<ReadError> for Malformed {
    fn from(error: ReadError) -> Self {
        Self::Yaml { line: error.location.line, column: error.location.column }
    }
}

/// For messages: a provider that answers nonsense must not fill the log.
pub(super) fn truncate_for_message(text: &str) -> String {
    text.chars().take(MAX_QUOTED_CHARS).collect()
}
