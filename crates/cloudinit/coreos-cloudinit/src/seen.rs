//! Which content each file of user-data had when it was last applied since the machine was started (contract 7): the path
//! units see that a file was written, not that it is another one.
//!
//! It never holds contents, and counts a run whatever came of it.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cloudinit::limits::MAX_RAW_BYTES;
use cloudinit::plan::sha256;
use host::{FileError, Root, files};

use crate::private;

const FOLDER: &str = "/run/coreos-cloudinit/files";
/// Digits of the hash that tell paths apart.
const NAME_DIGITS: usize = 32;

/// What is known of one file.
pub struct File {
    stamp: String,
}

impl File {
    pub fn new(path: &Path) -> Self {
        let name = sha256(path.as_os_str().as_bytes());
        Self { stamp: format!("{FOLDER}/{}", &name[..NAME_DIGITS]) }
    }

    /// Whether the content of this hash was the last one.
    pub fn is(&self, root: &Root, hash: &str) -> Result<bool, FileError> {
        let known = files::read(root, &self.stamp, private::MAX_STAMP_BYTES)?;
        Ok(known.is_some_and(|known| known.trim_ascii() == hash.as_bytes()))
    }

    pub fn keep(&self, root: &Root, hash: &str) -> Result<(), FileError> {
        private::note(root, &self.stamp, format!("{hash}\n").as_bytes())
    }
}

/// Whether the file has another content than that of this hash by now. What is no file, as a pipe, gave all that it has.
pub fn is_replaced(path: &Path, hash: &str) -> bool {
    let content = || {
        let mut content = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(MAX_RAW_BYTES as u64 + 1).read_to_end(&mut content).map(|_| content)
    };
    let is_file = path.metadata().is_ok_and(|found| found.is_file());
    is_file && content().is_ok_and(|content| sha256(&content) != hash)
}
