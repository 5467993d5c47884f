//! Diagnostics about a unit file.

use std::fmt;

/// Line and column, from one. Columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Lines end at newlines; continuation lines count.
    pub line: u32,
    /// Of the first character.
    pub column: u32,
}

impl Position {
    /// The position of byte `at` in `text`.
    pub(crate) fn of(text: &str, at: usize) -> Self {
        let before = &text[..at];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: count(before.matches('\n').count()), column: count(before[start..].chars().count()) }
    }
}

/// Texts are limited to far fewer lines.
fn count(before: usize) -> u32 {
    u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Most severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The unit is refused.
    Error,
    /// The unit is accepted, but something in it has no effect.
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

/// A diagnostic. `position` is `None` for a unit that was created from options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether the unit is refused.
    pub severity: Severity,
    /// Of the option that causes it.
    pub position: Option<Position>,
    /// One sentence, without the position.
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
