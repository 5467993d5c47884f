//! Names of files next to the metadata. Never paths.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MAX_NAME: usize = 128;

/// Letters, digits and `._+-`, without a leading dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

/// A text that is no safe file name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid file name `{0}`: expected 1 to 128 letters, digits or `._+-`, without a leading dot")]
pub struct NameError(String);

impl FileName {
    /// Safe in URLs and paths.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.pad(&self.0)
    }
}

impl FromStr for FileName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
        if (1..=MAX_NAME).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(text.chars().take(MAX_NAME).collect()))
        }
    }
}

impl Serialize for FileName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for FileName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_not_paths() {
        for good in ["a", "usr-1.2.3+m_x.zst", &"a".repeat(MAX_NAME)] {
            assert_eq!(good.parse::<FileName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", ".a", "a/b", "/", "a\\b", "a b", "ä", "a%2fb", &"a".repeat(MAX_NAME + 1)]
        {
            bad.parse::<FileName>().unwrap_err();
        }
    }
}
