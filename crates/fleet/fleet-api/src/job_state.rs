//! Desired and current states of units.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// As a desired state: known, loaded on a machine, started. In the order of starting a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum JobState {
    /// Known to the cluster; on no machine.
    #[default]
    Inactive,
    /// Its file is on a machine, and it is not started.
    Loaded,
    /// Started, or to be started.
    Launched,
}

impl JobState {
    /// As in the API: `inactive`, `loaded`, `launched`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Loaded => "loaded",
            Self::Launched => "launched",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is the contract's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid value {0:?} for JobState")]
pub struct JobStateError(String);

impl FromStr for JobState {
    type Err = JobStateError;

    fn from_str(text: &str) -> Result<Self, JobStateError> {
        [Self::Inactive, Self::Loaded, Self::Launched]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| JobStateError(text.to_owned()))
    }
}
