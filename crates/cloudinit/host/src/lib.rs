//! The hands: the only crate that changes a machine.
//!
//! Files, accounts, ssh keys, the host name, systemd. Everything happens below a [`Root`], which is `/` on a
//! node and a folder in a test. It must never decide anything: callers bring plans.

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

/// Whether something had to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Unchanged,
    Changed,
}

impl Outcome {
    pub fn changed(self) -> bool {
        self == Self::Changed
    }
}
