//! Results of a lint.

use std::fmt;

/// A violation, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Path below the checkout, with `:LINE` if known.
    pub location: String,
    pub message: String,
}

impl Finding {
    pub fn new(location: impl Into<String>, message: impl Into<String>) -> Self {
        Self { location: location.into(), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.location, self.message)
    }
}

/// A lint either ran, or reports why it could not.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `note` states which part could not be checked on this host.
    Checked {
        findings: Vec<Finding>,
        note: Option<String>,
    },
    Skipped(String),
}

impl Outcome {
    pub fn of(findings: Vec<Finding>) -> Self {
        Self::Checked { findings, note: None }
    }
}
