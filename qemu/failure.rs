//! Errors of scenarios.

use machines::machine::MachineError;
use machines::site::SiteError;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error("{0}")]
    Expected(String),
    /// The host lacks a prerequisite: the scenario is skipped.
    #[error("{0}")]
    Unavailable(String),
    #[error("cannot change the disk {path}")]
    Disk { path: std::path::PathBuf, source: std::io::Error },
    #[error("cannot measure how fast this host is")]
    Calibration(#[source] std::io::Error),
    #[error("no partition table was found in {path}")]
    Partitions { path: std::path::PathBuf, source: gpt::GptError },
}

impl Failure {
    /// Formats the error with all its causes on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        service::error::chain(self)
    }
}

/// Returns [`Failure::Expected`] unless `holds`.
pub fn expect(holds: bool, expected: &str, actual: &str) -> Result<(), Failure> {
    if holds {
        Ok(())
    } else {
        Err(Failure::Expected(format!("expected {expected}; seen: {}", actual.trim())))
    }
}
