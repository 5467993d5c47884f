//! Errors of parsing, with their position.

use std::fmt;

/// Both from 1. Columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}, column {}", self.line, self.column)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("it has {bytes} bytes, more than {limit}")]
    Large { bytes: usize, limit: usize },
    #[error("it is not UTF-8 behind byte {valid}")]
    NotUtf8 { valid: usize },
    #[error("it is empty")]
    Empty,
    /// Includes DTDs.
    #[error("it is not well-formed XML ({position}): {why}")]
    Xml { position: Position, why: String },
    #[error("the outermost element is {found}, not {expected} ({position})")]
    Root { position: Position, expected: &'static str, found: String },
    #[error("protocol {found:?} is not 3.0 ({position})")]
    Protocol { position: Position, found: String },
    #[error("{element} has {attribute}={text:?}: {why} ({position})")]
    Attribute {
        position: Position,
        element: String,
        attribute: &'static str,
        text: String,
        why: &'static str,
    },
    #[error("{element} has no {attribute} ({position})")]
    Missing { position: Position, element: String, attribute: &'static str },
    #[error("more than {limit} of {element} ({position})")]
    Many { position: Position, element: &'static str, limit: usize },
}
