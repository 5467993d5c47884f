//! Why a message could not be read, and where.

use std::fmt;

/// Both count from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: u32,
    pub column: u32,
}

impl fmt::Display for Place {
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
    /// A DTD counts as such.
    #[error("it is not well-formed XML ({place}): {why}")]
    Xml { place: Place, why: String },
    #[error("the outermost element is {found}, not {expected} ({place})")]
    Root { place: Place, expected: &'static str, found: String },
    #[error("protocol {found:?} is not 3.0 ({place})")]
    Protocol { place: Place, found: String },
    #[error("{element} has {attribute}={text:?}: {why} ({place})")]
    Attribute { place: Place, element: String, attribute: &'static str, text: String, why: &'static str },
    #[error("{element} has no {attribute} ({place})")]
    Missing { place: Place, element: String, attribute: &'static str },
    #[error("more than {limit} of {element} ({place})")]
    Many { place: Place, element: &'static str, limit: usize },
}
