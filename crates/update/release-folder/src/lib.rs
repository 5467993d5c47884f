//! Creates signing keys, root metadata and releases: images packed, described and signed, and image files for new machines, in a folder for a server or a
//! USB stick.
//!
//! Runs where images are built. Verifies the older releases that deltas are based on as a machine would.

#![warn(missing_docs)]

mod build;
mod bundle;
mod first_root;
mod images;
mod keys;
mod password;
mod publish;
mod roots;
mod rotate;
mod sign;
mod targets;

pub use build::{
    BuildError, BuildStep, BuiltRelease, ImageFiles, ReleaseInfo, ReleaseSpec, build_release, releases_before,
};
pub use first_root::{FirstRoot, UnencryptedKeys, create_first_root, create_unencrypted};
pub use images::{FinishedImage, FinishedImages, ImagesError, add_image_files, read_images};
pub use keys::{GeneratedKeys, KeysError, SigningKey, existing_key_path, generate_keys, secret_key_path};
pub use password::{Password, PasswordError, Passwords};
pub use publish::{Publication, Unlock, targets_to_publish};
pub use roots::{
    RootError, RootStatus, SignedRoot, add_root, copy_roots, latest_complete, latest_status, load_roots,
    status,
};
pub use rotate::{Change, Replace, rotate, rotate_with};
pub use sign::{merge_signatures, sign_root, sign_root_with};
pub use targets::{
    TargetsError, TargetsStatus, load_targets, merge_targets_signatures, refresh_targets, sign_targets,
    sign_targets_with, targets_status,
};
