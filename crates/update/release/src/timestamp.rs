//! `timestamp.json`.

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{MetadataError, parse_strict, to_canonical};

/// Maximum size of `timestamp.json` in bytes.
pub const MAX_TIMESTAMP: usize = 16 << 10;
/// Maximum seconds from issue to expiry: a stolen channel key is useless after that time.
pub const MAX_TIMESTAMP_LIFETIME: u64 = 8 * 86_400;
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
        match timestamp.expires.checked_sub(timestamp.issued) {
            Some(1..=MAX_TIMESTAMP_LIFETIME) => Ok(timestamp),
            _ => {
                let days = MAX_TIMESTAMP_LIFETIME / 86_400;
                let why = format!("expires: must be later than `issued`, by at most {days} days");
                Err(MetadataError::Invalid { file: Self::FILE, why })
            }
        }
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
    fn a_timestamp_round_trips_if_it_is_valid_for_some_days() {
        let timestamp = Timestamp {
            schema: SCHEMA,
            channel: "alpha".to_owned(),
            version: Version::new(2, 0, 0),
            release_sha256: Digest([7; 32]),
            issued: 100,
            expires: 200,
        };
        assert_eq!(Timestamp::parse(&timestamp.to_bytes().unwrap()).unwrap(), timestamp);
        let with_expiry = |expires| Timestamp { expires, ..timestamp.clone() }.to_bytes();
        with_expiry(100).unwrap_err();
        with_expiry(99).unwrap_err();
        with_expiry(100 + MAX_TIMESTAMP_LIFETIME).unwrap();
        with_expiry(101 + MAX_TIMESTAMP_LIFETIME).unwrap_err();
        with_expiry(u64::MAX).unwrap_err();
    }
}
