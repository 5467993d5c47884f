//! What is said about a unit file, with its place.

use std::fmt;

/// Line and column count from one; columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl Position {
    /// The place of byte `at` of `text`.
    pub(crate) fn of(text: &str, at: usize) -> Self {
        let before = &text[..at];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: count(before.matches('\n').count()), column: count(before[start..].chars().count()) }
    }
}

/// Texts are limited to far fewer lines than a `u32` counts.
fn count(before: usize) -> u32 {
    u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// From worst to mildest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The unit is refused.
    Error,
    /// The unit is taken, but something in it does nothing.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing to say about a unit file. `position` is missing where the file came as options, not as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    pub position: Option<Position>,
    pub message: String,
}

impl Finding {
    pub(crate) fn warning(position: Option<Position>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, position, message: message.into() }
    }

    pub(crate) fn error(position: Option<Position>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, position, message: message.into() }
    }
}

/// `line 3, column 1: warning: ...`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.position {
            write!(f, "{position}: ")?;
        }
        write!(f, "{}: {}", self.severity, self.message)
    }
}
