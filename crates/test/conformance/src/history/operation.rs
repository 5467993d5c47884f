//! One operation on one key, from its call to its response.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Read,
    Write(u64),
    /// Only if the key is missing.
    Create(u64),
    /// Only if the value is `from`.
    Swap {
        from: u64,
        to: u64,
    },
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The value that a read returned.
    Saw(Option<u64>),
    Done,
    /// The key had another value (swap), or existed (create).
    Refused,
    /// The key was missing (swap, delete).
    Missing,
    /// No response: it may have happened, or may still happen.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub client: usize,
    pub key: String,
    pub action: Action,
    pub outcome: Outcome,
    /// Nanoseconds since the start of the recording.
    pub called: u64,
    pub answered: u64,
}

impl Operation {
    /// The latest time at which it took effect.
    pub fn end(&self) -> u64 {
        if self.outcome == Outcome::Unknown { u64::MAX } else { self.answered }
    }

    /// The value after it, or `None` if its outcome is impossible for a key with value `now`.
    pub fn apply(&self, now: Option<u64>) -> Option<Option<u64>> {
        let (after, outcome) = match self.action {
            Action::Read => (now, Outcome::Saw(now)),
            Action::Write(value) => (Some(value), Outcome::Done),
            Action::Create(value) if now.is_none() => (Some(value), Outcome::Done),
            Action::Create(_) => (now, Outcome::Refused),
            Action::Swap { from, to } if now == Some(from) => (Some(to), Outcome::Done),
            Action::Swap { .. } if now.is_none() => (now, Outcome::Missing),
            Action::Swap { .. } => (now, Outcome::Refused),
            Action::Delete if now.is_none() => (now, Outcome::Missing),
            Action::Delete => (None, Outcome::Done),
        };
        let fits = self.outcome == Outcome::Unknown || self.outcome == outcome;
        fits.then_some(after)
    }

    /// Whether it certainly left the key unchanged.
    pub fn is_without_effect(&self) -> bool {
        self.action == Action::Read || matches!(self.outcome, Outcome::Refused | Outcome::Missing)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: u64| time as f64 / 1e6;
        write!(out, "client {:>2}  {:>10.3} ms .. ", self.client, milliseconds(self.called))?;
        match self.outcome {
            Outcome::Unknown => write!(out, "{:>10}    ", "?")?,
            _ => write!(out, "{:>10.3} ms ", milliseconds(self.answered))?,
        }
        write!(out, " {} {:?} -> {:?}", self.key, self.action, self.outcome)
    }
}
