//! The result of a check.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The machine is healthy only if it passes.
    Required,
    /// A failure is reported, without further effect.
    Wanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Passed,
    Failed,
    /// Not applicable on this machine.
    Skipped,
}

/// The result of a check's last run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: String,
    pub kind: Kind,
    pub state: State,
    /// The reason of a failure, or a detail of a success, in one line.
    #[serde(rename = "why")]
    pub reason: String,
}

impl Check {
    pub fn new(name: &str, state: State, reason: impl Into<String>) -> Self {
        Self { name: name.to_owned(), kind: Kind::Required, state, reason: reason.into() }
    }

    /// Whether it keeps this machine from being healthy.
    pub fn is_blocking(&self) -> bool {
        self.kind == Kind::Required && self.state == State::Failed
    }
}
