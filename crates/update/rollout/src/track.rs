//! Names of channels and groups: a name and an architecture.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;

const DEFAULT: &str = "amd64";

/// `stable` (amd64), or `stable@aarch64`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Track {
    name: String,
    arch: String,
}

/// A text that is no track.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid name `{0}`: expected 1 to 64 letters, digits or `._-`, optionally with `@` and an architecture"
)]
pub struct ParseTrackError(String);

impl Track {
    /// # Errors
    /// The name or the architecture is not an identifier ([`is_identifier`]).
    pub fn new(name: &str, arch: &str) -> Result<Self, ParseTrackError> {
        if is_identifier(name) && is_identifier(arch) {
            Ok(Self { name: name.to_owned(), arch: arch.to_owned() })
        } else {
            Err(ParseTrackError(format!("{name}@{arch}").chars().take(limits::NAME).collect()))
        }
    }

    /// Without the architecture.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `amd64` unless stated otherwise.
    pub fn arch(&self) -> &str {
        &self.arch
    }
}

/// 1 to 64 letters, digits and `._-`: safe in paths, metric labels and log lines without escaping.
pub fn is_identifier(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=limits::NAME).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('.')
}

impl FromStr for Track {
    type Err = ParseTrackError;

    fn from_str(text: &str) -> Result<Self, ParseTrackError> {
        let (name, arch) = text.split_once('@').unwrap_or((text, DEFAULT));
        Self::new(name, arch)
    }
}

impl fmt::Display for Track {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)?;
        if self.arch == DEFAULT { Ok(()) } else { write!(out, "@{}", self.arch) }
    }
}

impl Serialize for Track {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Track {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_through_display() {
        for text in ["stable", "my-own_1.2", "stable@aarch64"] {
            assert_eq!(text.parse::<Track>().unwrap().to_string(), text);
        }
        assert_eq!("a@amd64".parse::<Track>().unwrap().to_string(), "a");
        for bad in ["", "a b", "a/b", "..", "a@", "@b", "a@b@c", &"a".repeat(65)] {
            bad.parse::<Track>().unwrap_err();
        }
    }
}
