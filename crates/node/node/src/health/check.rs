//! What a check is and how it went.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The machine is healthy only when it passes.
    Required,
    /// Its failure is told, and nothing more.
    Wanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Passed,
    Failed,
    /// There is nothing of its kind on this machine.
    Skipped,
}

/// How a check went in its last try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: String,
    pub kind: Kind,
    pub state: State,
    /// Why, in a line; what was found, where it passed.
    pub why: String,
}

impl Check {
    pub fn new(name: &str, state: State, why: impl Into<String>) -> Self {
        Self { name: name.to_owned(), kind: Kind::Required, state, why: why.into() }
    }

    /// Whether it stands between this machine and being healthy.
    pub fn is_in_the_way(&self) -> bool {
        self.kind == Kind::Required && self.state == State::Failed
    }
}
