//! What an update is, in signed words: `release.json`, each channel's `timestamp.json`, and their signatures.
//!
//! A release names every byte that an update brings, and is signed with a key that is kept off the server. A
//! timestamp says which release a channel has now and until when that word counts; the server signs it, with a key
//! that can do nothing else. The bytes as served are what is signed: nothing is ever written anew before it is
//! checked.

mod digest;
mod json;
mod keys;
mod metadata;
mod name;
mod timestamp;

pub use digest::{Digest, DigestError};
pub use json::{MetadataError, SCHEMA};
pub use keys::{Key, KeyError, Keys, SignatureError};
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
}
