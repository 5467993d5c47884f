//! UUIDs of pods.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Positions of dashes in the text.
const DASHES: [usize; 4] = [8, 13, 18, 23];
const LENGTH: usize = 36;
const SHORT: usize = 8;

/// A UUID of RFC 9562, version 4.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(String);

/// A text that is neither a UUID nor the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no UUID of a pod, nor the beginning of one")]
pub struct UuidError(String);

impl Uuid {
    /// From random bytes, of which six bits become the version and variant.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = String::new();
        for byte in bytes {
            if DASHES.contains(&text.len()) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02x}"));
        }
        Self(text)
    }

    /// The first eight characters, which tables show.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..SHORT).unwrap_or(&self.0)
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it begins with `prefix`, which users type.
    ///
    /// # Errors
    /// The prefix has a character that UUIDs do not have.
    pub fn check_prefix(prefix: &str) -> Result<(), UuidError> {
        let is_valid = prefix.char_indices().all(|(at, char)| is_at(at, char));
        if !prefix.is_empty() && prefix.len() <= LENGTH && is_valid {
            Ok(())
        } else {
            Err(UuidError(prefix.chars().take(2 * LENGTH).collect()))
        }
    }
}

fn is_at(at: usize, char: char) -> bool {
    if DASHES.contains(&at) { char == '-' } else { char.is_ascii_digit() || ('a'..='f').contains(&char) }
}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        Self::check_prefix(text)?;
        if text.len() == LENGTH { Ok(Self(text.to_owned())) } else { Err(UuidError(text.to_owned())) }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_one_text() {
        let uuid = Uuid::from_random([0xff; 16]);
        assert_eq!(uuid.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid.short(), "ffffffff");
        assert_eq!(uuid.as_str().parse::<Uuid>().unwrap(), uuid);
        let check = |text: &str, whole: bool, prefix: bool| {
            assert_eq!(
                (text.parse::<Uuid>().is_ok(), Uuid::check_prefix(text).is_ok()),
                (whole, prefix),
                "{text}"
            );
        };
        check("ffffffff", false, true);
        check("", false, false);
        check("../../etc", false, false);
        check("FFFFFFFF", false, false);
        check("ffffffff0", false, false);
        check("ffffffff-ffff-4fff-bfff-fffffffffffff", false, false);
    }
}
