//! Hash of a unit's normalized text. Units with the same hash are the same.

use std::fmt;
use std::str::FromStr;

use sha1::{Digest, Sha1};
use thiserror::Error;

/// Hex digits of the short form.
const SHORT_DIGITS: usize = 7;

/// SHA-1 of a normalized text. Displayed as 40 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitHash(pub [u8; 20]);

impl UnitHash {
    /// Hashes a text; units are compared by the hash of their normalized text.
    pub fn of(normalised: &str) -> Self {
        Self(Sha1::digest(normalised.as_bytes()).into())
    }

    /// The first seven digits, as in lists.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(SHORT_DIGITS);
        text
    }
}

impl fmt::Display for UnitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for UnitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnitHash({self})")
    }
}

/// A text that is not 40 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a unit's hash has 40 hex digits, {0:?} has not")]
pub struct HashError(String);

impl FromStr for UnitHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let error = || HashError(text.to_owned());
        let mut bytes = [0; 20];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(error());
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| error())?;
        }
        Ok(Self(bytes))
    }
}
