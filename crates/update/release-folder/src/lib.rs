//! Creates signing keys, key sets and releases: images packed, described and signed, in a folder for a server or a
//! USB stick.
//!
//! Runs where images are built. Verifies the older releases that deltas are based on as a machine would.

#![warn(missing_docs)]

mod build;
mod key_sets;
mod keys;
mod rotate;

pub use build::{BuildError, BuildStep, BuiltRelease, ImageFiles, ReleaseInfo, ReleaseSpec, build_release};
pub use key_sets::{
    KeySetError, KeySetStatus, SignedSet, copy_sets, create_first_set, latest_complete, latest_status,
    load_sets, merge_signatures, sign_set, status,
};
pub use keys::{GeneratedKeys, KeysError, SigningKey, generate_keys};
pub use rotate::{Change, Replace, rotate};
