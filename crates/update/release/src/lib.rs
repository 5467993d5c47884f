//! Signed update metadata: `release.json`, each channel's `timestamp.json`, and their signatures.
//!
//! A release lists every byte of an update and is signed with an offline key. A timestamp names the current release
//! of a channel until it expires; the server signs it with a key for this purpose only. TUF's root metadata lists
//! these keys. Signatures cover the bytes as served: metadata is never re-encoded before it is verified.

#![warn(missing_docs)]

mod digest;
mod json;
mod keys;
mod metadata;
mod name;
mod secret_key;
mod timestamp;

pub use digest::{Digest, DigestError};
pub use json::{MetadataError, SCHEMA};
pub use keys::{Key, KeyError, Keys, PublicKeyBytes, SignatureError, public_key};
pub use metadata::{
    Blob, Delta, Image, Images, MAX_RELEASE, MAX_SIGNATURE, Payload, Release, SEGMENTS, Verity,
};
pub use name::{FileName, NameError};
pub use secret_key::SecretKeyHeader;
pub use semver::Version;
pub use timestamp::{MAX_TIMESTAMP, Timestamp};

/// Names of the files in a release folder.
pub mod files {
    /// The signed description of a version.
    pub const RELEASE: &str = "release.json";
    /// minisign signature of [`RELEASE`] by a release key.
    pub const RELEASE_SIGNATURE: &str = "release.json.sig";
    /// The signed pointer to a channel's current release.
    pub const TIMESTAMP: &str = "timestamp.json";
    /// minisign signature of [`TIMESTAMP`] by a channel key.
    pub const TIMESTAMP_SIGNATURE: &str = "timestamp.json.sig";
}
