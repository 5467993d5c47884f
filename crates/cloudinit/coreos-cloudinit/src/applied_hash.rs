//! The hash of each user-data file as last applied since boot (contract 7): path units report that a file was
//! written, not that it changed.
//!
//! It never stores contents, and records a run regardless of its result.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cloudinit::limits::MAX_RAW_BYTES;
use cloudinit::plan::sha256;
use host::{FileError, Root, files};

use crate::state_file;

const FOLDER: &str = "/run/coreos-cloudinit/files";
/// Hash digits in a file name; enough to tell paths apart.
const NAME_DIGITS: usize = 32;

/// The record of one user-data file.
pub struct AppliedHash {
    stamp_path: String,
}

impl AppliedHash {
    pub fn new(path: &Path) -> Self {
        let name = sha256(path.as_os_str().as_bytes());
        Self { stamp_path: format!("{FOLDER}/{}", &name[..NAME_DIGITS]) }
    }

    /// Whether `hash` is that of the content applied last.
    pub fn matches(&self, root: &Root, hash: &str) -> Result<bool, FileError> {
        let stored = files::read(root, &self.stamp_path, state_file::MAX_STAMP_BYTES)?;
        Ok(stored.is_some_and(|stored| stored.trim_ascii() == hash.as_bytes()))
    }

    pub fn store(&self, root: &Root, hash: &str) -> Result<(), FileError> {
        state_file::write_volatile(root, &self.stamp_path, format!("{hash}\n").as_bytes())
    }
}

/// Whether the file's content no longer has this hash. `false` for pipes and the like, which are read only once.
pub fn has_changed(path: &Path, hash: &str) -> bool {
    let content = || {
        let mut content = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(MAX_RAW_BYTES as u64 + 1).read_to_end(&mut content).map(|_| content)
    };
    let is_file = path.metadata().is_ok_and(|found| found.is_file());
    is_file && content().is_ok_and(|content| sha256(&content) != hash)
}
