//! `timestamp.json`.

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{MetadataError, read, write};

/// Most bytes of `timestamp.json`.
pub const MAX_TIMESTAMP: usize = 16 << 10;
/// `timestamp.json`: what a channel has, and until when that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timestamp {
    pub schema: u32,
    pub channel: String,
    pub version: Version,
    /// Of `release.json` as served.
    pub release_sha256: Digest,
    /// Seconds since 1970.
    pub issued: u64,
    /// Seconds since 1970.
    pub expires: u64,
}

impl Timestamp {
    const FILE: &str = crate::files::TIMESTAMP;

    /// Reads what was checked against a signature.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        let timestamp: Self = read(Self::FILE, bytes, MAX_TIMESTAMP)?;
        if timestamp.expires <= timestamp.issued {
            let why = "expires: it was out of date when it was issued".to_owned();
            return Err(MetadataError::Meaning { file: Self::FILE, why });
        }
        Ok(timestamp)
    }

    /// What is to be signed and served.
    ///
    /// # Errors
    /// When [`Timestamp::parse`] would not take it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MetadataError> {
        write(Self::FILE, self, Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::SCHEMA;

    #[test]
    fn what_is_written_is_read_again_and_never_what_was_born_old() {
        let timestamp = Timestamp {
            schema: SCHEMA,
            channel: "alpha".to_owned(),
            version: Version::new(2, 0, 0),
            release_sha256: Digest([7; 32]),
            issued: 100,
            expires: 200,
        };
        assert_eq!(Timestamp::parse(&timestamp.to_bytes().unwrap()).unwrap(), timestamp);
        Timestamp { expires: 100, ..timestamp }.to_bytes().unwrap_err();
    }
}
