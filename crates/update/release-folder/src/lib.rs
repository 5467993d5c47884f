//! Creates signing keys, key sets and releases: images packed, described and signed, in a folder for a server or a
//! USB stick.
//!
//! Runs where images are built. Verifies the older releases that deltas are based on as a machine would.

#![warn(missing_docs)]

mod build;
mod first_set;
mod key_sets;
mod keys;
mod password;
mod rotate;

pub use build::{BuildError, BuildStep, BuiltRelease, ImageFiles, ReleaseInfo, ReleaseSpec, build_release};
pub use first_set::{FirstSet, create_first_set};
pub use key_sets::{
    KeySetError, KeySetStatus, SignedSet, copy_sets, latest_complete, latest_status, load_sets,
    merge_signatures, sign_set, status,
};
pub use keys::{GeneratedKeys, KeysError, SigningKey, existing_key_path, generate_keys, secret_key_path};
pub use password::{Password, PasswordError, Passwords};
pub use rotate::{Change, Replace, rotate};
