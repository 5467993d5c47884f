//! What a data directory was: it decides before any flag does.

use thiserror::Error;

/// What was found in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    pub member: bool,
    pub proxy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Empty,
    Member,
    Proxy,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid datadir. Both member and proxy directories exist.")]
pub struct BothExist;

impl Contents {
    pub fn kind(self) -> Result<Kind, BothExist> {
        match (self.member, self.proxy) {
            (true, true) => Err(BothExist),
            (true, false) => Ok(Kind::Member),
            (false, true) => Ok(Kind::Proxy),
            (false, false) => Ok(Kind::Empty),
        }
    }
}
