//! Small state files of this program, readable by root only.

use host::files::{self, DIRECTORY_MODE, Owner, Request};
use host::{FileError, Root, flush, leftovers};

/// A longer file is not one of ours.
pub const MAX_STAMP_BYTES: usize = 4096;
const MODE: u32 = 0o600;

/// Survives a power loss.
pub fn write_durable(root: &Root, path: &str, content: &[u8]) -> Result<(), FileError> {
    write_volatile(root, path, content)?;
    flush::parent_folders(root, [path])
}

/// For files in `/run`, which need no fsync.
pub fn write_volatile(root: &Root, path: &str, content: &[u8]) -> Result<(), FileError> {
    let owner = Owner::default();
    leftovers::remove_beside(root, path)?;
    files::write(root, &Request { path, mode: MODE, owner, content, directory_mode: DIRECTORY_MODE })
        .map(drop)
}
