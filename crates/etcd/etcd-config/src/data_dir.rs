//! The state of a data directory, which takes precedence over flags.

use thiserror::Error;

/// The subdirectories of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    pub member: bool,
    pub proxy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataDirKind {
    Empty,
    Member,
    Proxy,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid datadir. Both member and proxy directories exist.")]
pub struct BothExist;

impl Contents {
    pub fn kind(self) -> Result<DataDirKind, BothExist> {
        match (self.member, self.proxy) {
            (true, true) => Err(BothExist),
            (true, false) => Ok(DataDirKind::Member),
            (false, true) => Ok(DataDirKind::Proxy),
            (false, false) => Ok(DataDirKind::Empty),
        }
    }
}
