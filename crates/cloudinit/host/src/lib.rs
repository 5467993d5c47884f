//! Modifies a machine: files, accounts, SSH keys, the hostname, systemd units.
//!
//! Everything happens below a [`Root`], which is `/` on a node and a folder in a test. This crate makes no
//! decisions; callers pass what to do.

#![warn(missing_docs)]

pub mod accounts;
pub mod authorized_keys;
pub mod files;
pub mod flush;
pub mod hostname;
pub mod leftovers;
pub mod lock;
pub mod program;
mod root;
pub mod systemd;

pub use root::{FileError, Root};

/// Whether an operation changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The machine was already as requested.
    Unchanged,
    /// The machine was modified.
    Changed,
}

impl Outcome {
    /// True for [`Outcome::Changed`].
    pub fn changed(self) -> bool {
        self == Self::Changed
    }
}
