//! Whether a machine gets new units and keeps old ones.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Set by an operator, per machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cordon {
    /// Gets units.
    #[default]
    Open,
    /// Gets no new units.
    Cordoned,
    /// Gets no new units, and its units move where possible. Global units stay.
    Draining,
}

impl Cordon {
    /// For serde: an open machine's is omitted.
    pub fn is_open(&self) -> bool {
        *self == Self::Open
    }

    /// Value of the key `machines/ID/cordon`, which an open machine does not have.
    pub fn encode(self) -> Option<&'static str> {
        match self {
            Self::Open => None,
            Self::Cordoned => Some("cordoned"),
            Self::Draining => Some("draining"),
        }
    }

    /// The inverse of `encode`; `None` for unknown values.
    pub fn decode(text: &str) -> Option<Self> {
        [Self::Cordoned, Self::Draining].into_iter().find(|cordon| cordon.encode() == Some(text))
    }
}

impl fmt::Display for Cordon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode().unwrap_or("open"))
    }
}

/// Body of `PUT machines/ID/cordon`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CordonRequest {
    /// The new value; `open` removes the cordon.
    pub cordon: Cordon,
}
