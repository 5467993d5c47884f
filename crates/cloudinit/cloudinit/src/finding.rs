//! The validator's findings: severity, location and message.

use std::fmt;

use serde::Serialize;

use crate::fix::Fix;
use crate::yaml::Location;

/// Ordered from most to least severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// Line and column start at 1 and refer to the decoded text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: Severity,
    pub line: u32,
    pub column: u32,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// Reported only for compatibility with the original validator; does not apply to this system.
    #[serde(skip)]
    pub original_only: bool,
}

impl Finding {
    pub fn new(kind: Severity, location: Location, message: impl Into<String>) -> Self {
        Self {
            kind,
            line: location.line,
            column: location.column,
            message: message.into(),
            fix: None,
            original_only: false,
        }
    }

    pub(crate) fn original_only(mut self) -> Self {
        self.original_only = true;
        self
    }

    pub(crate) fn with_fix(mut self, fix: Option<Fix>) -> Self {
        self.fix = fix;
        self
    }
}

/// Formats a finding as a line: `line 3: error: ...`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.kind, self.message)
    }
}

/// Sorts by line, then severity, and removes duplicates.
pub fn sort(findings: &mut Vec<Finding>) {
    findings
        .sort_by(|a, b| (a.line, a.kind, a.column, &a.message).cmp(&(b.line, b.kind, b.column, &b.message)));
    findings.dedup_by(|a, b| (a.line, a.kind, &a.message) == (b.line, b.kind, &b.message));
}
