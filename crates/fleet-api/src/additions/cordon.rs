//! What an operator said about new and old units of a machine.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cordon {
    #[default]
    Open,
    /// Gets no new units.
    Cordoned,
    /// Gets none, and loses those that can go elsewhere. Global units stay.
    Draining,
}

impl Cordon {
    pub fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

impl fmt::Display for Cordon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CordonRequest {
    pub cordon: Cordon,
}
