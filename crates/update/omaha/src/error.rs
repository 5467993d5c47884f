//! Errors of parsing, with their position.

use std::fmt;

/// Both from 1. Columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Lines end at newlines.
    pub line: u32,
    /// Of the first character at fault.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}, column {}", self.line, self.column)
    }
}

/// Why a message is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ReadError {
    #[error("{bytes} bytes, the maximum is {limit}")]
    Large { bytes: usize, limit: usize },
    #[error("invalid UTF-8 after byte {valid}")]
    NotUtf8 { valid: usize },
    #[error("empty document")]
    Empty,
    /// Includes DTDs.
    #[error("malformed XML ({position}): {why}")]
    Xml { position: Position, why: String },
    #[error("the root element is {found}, expected {expected} ({position})")]
    Root { position: Position, expected: &'static str, found: String },
    #[error("unsupported protocol {found:?}, expected 3.0 ({position})")]
    Protocol { position: Position, found: String },
    #[error("invalid {attribute}={text:?} of {element}: {why} ({position})")]
    Attribute {
        position: Position,
        element: String,
        attribute: &'static str,
        text: String,
        why: &'static str,
    },
    #[error("{element} lacks {attribute} ({position})")]
    Missing { position: Position, element: String, attribute: &'static str },
    #[error("more than {limit} elements {element} ({position})")]
    Many { position: Position, element: &'static str, limit: usize },
}
