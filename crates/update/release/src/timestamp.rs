//! `timestamp.json`.

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{MetadataError, parse_strict, to_canonical};

/// Maximum size of `timestamp.json` in bytes.
pub const MAX_TIMESTAMP: usize = 16 << 10;
/// `timestamp.json`: the current release of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timestamp {
    /// [`SCHEMA`](crate::SCHEMA).
    pub schema: u32,
    /// Such as `stable`.
    pub channel: String,
    /// The channel's current version.
    pub version: Version,
    /// Of `release.json`, as served.
    pub release_sha256: Digest,
    /// Unix time in seconds.
    pub issued: u64,
    /// Unix time in seconds.
    pub expires: u64,
}

impl Timestamp {
    const FILE: &str = crate::files::TIMESTAMP;

    /// Parses verified metadata.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        let timestamp: Self = parse_strict(Self::FILE, bytes, MAX_TIMESTAMP)?;
        if timestamp.expires <= timestamp.issued {
            let why = "expires: must be later than `issued`".to_owned();
            return Err(MetadataError::Invalid { file: Self::FILE, why });
        }
        Ok(timestamp)
    }

    /// The bytes to sign and serve.
    ///
    /// # Errors
    /// [`Timestamp::parse`] would reject it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MetadataError> {
        to_canonical(Self::FILE, self, Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::SCHEMA;

    #[test]
    fn a_timestamp_round_trips_unless_expired_when_issued() {
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
