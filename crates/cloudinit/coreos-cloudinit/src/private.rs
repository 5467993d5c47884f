//! Small files of the program's own, which only root reads.

use host::files::{self, DIRECTORY_MODE, Owner, Request};
use host::{FileError, Root, flush, leftovers};

/// One that is longer is none of ours.
pub const MAX_STAMP_BYTES: usize = 4096;
const MODE: u32 = 0o600;

/// It outlives a power cut.
pub fn write(root: &Root, path: &str, content: &[u8]) -> Result<(), FileError> {
    note(root, path, content)?;
    flush::above(root, [path])
}

/// For what ends with the boot, in `/run`.
pub fn note(root: &Root, path: &str, content: &[u8]) -> Result<(), FileError> {
    let owner = Owner::default();
    leftovers::remove_beside(root, path)?;
    files::write(root, &Request { path, mode: MODE, owner, content, directory_mode: DIRECTORY_MODE })
        .map(drop)
}
