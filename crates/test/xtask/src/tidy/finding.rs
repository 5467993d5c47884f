//! What a rule says about the checkout.

use std::fmt;

/// One place that breaks a rule, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Path below the checkout, with `:LINE` where the rule knows it.
    pub place: String,
    pub message: String,
}

impl Finding {
    pub fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.message)
    }
}

/// A rule either looked, or says why it could not.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `note` limits what was looked at, where the host could not do all of it.
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
