//! `release.json`, the description of a version, `images.json`, its image files, and the files of keys.
//!
//! A release lists every byte of an update; signed targets metadata lists its digest (crate `tuf`). Metadata is never
//! re-encoded before it is verified.

#![warn(missing_docs)]

mod chunked_digest;
mod digest;
mod images;
mod json;
mod keys;
mod metadata;
mod name;
mod secret_key;

pub use chunked_digest::ChunkedDigest;
pub use digest::{Digest, DigestError};
pub use images::{
    ImageFile, ImageList, MAX_IMAGE_FILES, MAX_IMAGE_LIST, NotOfRelease, classic_names, image_name,
};
pub use json::{MetadataError, SCHEMA};
pub use keys::{KeyError, PublicKeyBytes, public_key};
pub use metadata::{Blob, Delta, Image, Images, MAX_RELEASE, Payload, Release, SEGMENTS, Verity};
pub use name::{FileName, NameError};
pub use secret_key::SecretKeyHeader;
pub use semver::Version;

/// Names of the files in a release folder.
pub mod files {
    /// The description of a version.
    pub const RELEASE: &str = "release.json";
    /// The image files of a version.
    pub const IMAGES: &str = "images.json";
}
