//! What an update is, in signed words: `release.json`, each channel's `timestamp.json`, `keys.json`, and their
//! signatures.
//!
//! A release names every byte that an update brings, and is signed with a key that is kept off the server. A
//! timestamp says which release a channel has now and until when that word counts; the server signs it, with a key
//! that can do nothing else. A set of keys says which keys these are, and is signed by more than one root key of the
//! set before it. The bytes as served are what is signed: nothing is ever written anew before it is
//! checked.

mod digest;
mod json;
mod key_set;
mod keys;
mod metadata;
mod name;
mod timestamp;

pub use digest::{Digest, DigestError};
pub use json::{MetadataError, SCHEMA};
pub use key_set::{
    KeySet, KeyText, KeyTextError, MAX_KEY_SET, MAX_KEY_SET_SIGNATURES, MAX_KEYS, MIN_THRESHOLD, NamedKey,
    Role,
};
pub use keys::{Key, KeyError, Keys, SignatureError, split};
pub use metadata::{
    Blob, Delta, Image, Images, MAX_RELEASE, MAX_SIGNATURE, Payload, Release, SEGMENTS, Verity,
};
pub use name::{FileName, NameError};
pub use semver::Version;
pub use timestamp::{MAX_TIMESTAMP, Timestamp};

/// The names of the files in a release's folder.
pub mod files {
    pub const RELEASE: &str = "release.json";
    pub const RELEASE_SIGNATURE: &str = "release.json.sig";
    pub const TIMESTAMP: &str = "timestamp.json";
    pub const TIMESTAMP_SIGNATURE: &str = "timestamp.json.sig";
    /// The set that an image pins, or that a machine follows.
    pub const KEYS: &str = "keys.json";

    /// The set of this number, as it is served.
    #[must_use]
    pub fn keys(epoch: u64) -> String {
        format!("keys.{epoch}.json")
    }

    /// The signatures of the set of this number, one behind the other.
    #[must_use]
    pub fn keys_signatures(epoch: u64) -> String {
        format!("keys.{epoch}.json.sig")
    }

    /// The number in a name that [`keys`] gave.
    #[must_use]
    pub fn epoch_of(name: &str) -> Option<u64> {
        let epoch = name.strip_prefix("keys.")?.strip_suffix(".json")?.parse().ok()?;
        (keys(epoch) == name).then_some(epoch)
    }
}
