//! Creates signing keys, root metadata and releases: images packed, described and signed, in a folder for a server or a
//! USB stick.
//!
//! Runs where images are built. Verifies the older releases that deltas are based on as a machine would.

#![warn(missing_docs)]

mod build;
mod first_root;
mod keys;
mod password;
mod roots;
mod rotate;
mod sign;

pub use build::{BuildError, BuildStep, BuiltRelease, ImageFiles, ReleaseInfo, ReleaseSpec, build_release};
pub use first_root::{FirstRoot, create_first_root};
pub use keys::{GeneratedKeys, KeysError, SigningKey, existing_key_path, generate_keys, secret_key_path};
pub use password::{Password, PasswordError, Passwords};
pub use roots::{
    RootError, RootStatus, SignedRoot, copy_roots, latest_complete, latest_status, load_roots, status,
};
pub use rotate::{Change, Replace, rotate, rotate_with};
pub use sign::{merge_signatures, sign_root, sign_root_with};
