//! What a channel or a group is called: a name, and the architecture that it is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;

const DEFAULT: &str = "amd64";

/// `stable`, which is for amd64, or `stable@aarch64`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Track {
    name: String,
    arch: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name: it wants 1 to 64 letters, digits or `._-`, and perhaps `@` and an architecture")]
pub struct NoTrack(String);

impl Track {
    /// # Errors
    /// One of them is no word of letters, digits, dots, lines and dashes.
    pub fn new(name: &str, arch: &str) -> Result<Self, NoTrack> {
        if is_word(name) && is_word(arch) {
            Ok(Self { name: name.to_owned(), arch: arch.to_owned() })
        } else {
            Err(NoTrack(format!("{name}@{arch}").chars().take(limits::NAME).collect()))
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn arch(&self) -> &str {
        &self.arch
    }
}

/// What may stand in a path, a label of a metric or a log line as it is.
pub fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=limits::NAME).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('.')
}

impl FromStr for Track {
    type Err = NoTrack;

    fn from_str(text: &str) -> Result<Self, NoTrack> {
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
    fn names_are_read_as_they_are_written() {
        for text in ["stable", "my-own_1.2", "stable@aarch64"] {
            assert_eq!(text.parse::<Track>().unwrap().to_string(), text);
        }
        assert_eq!("a@amd64".parse::<Track>().unwrap().to_string(), "a");
        for bad in ["", "a b", "a/b", "..", "a@", "@b", "a@b@c", &"a".repeat(65)] {
            bad.parse::<Track>().unwrap_err();
        }
    }
}
