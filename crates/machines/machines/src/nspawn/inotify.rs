//! The host's limit of inotify instances, shared by all containers of a user.
//!
//! systemd and the services of a node use about twelve instances. Linux allows 128 per user: with more than ten nodes
//! services fail with "Too many open files".

use std::fs;
use std::io;
use std::path::Path;

pub const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
/// Enough for a cluster of [`crate::limits::NODES_MAX`] nodes.
const WANTED: u64 = 4096;

/// Raises the limit in `file` to what a large cluster needs; never lowers it.
///
/// # Errors
///
/// If the file cannot be read or written, as in a container with a read-only `/proc/sys`.
pub fn raise(file: &Path) -> io::Result<()> {
    let limit: u64 = fs::read_to_string(file)?.trim().parse().map_err(io::Error::other)?;
    if limit < WANTED { fs::write(file, format!("{WANTED}\n")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_never_lowered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("max_user_instances");
        for (before, after) in [("128\n", "4096\n"), ("8192\n", "8192\n")] {
            fs::write(&file, before).unwrap();
            raise(&file).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), after);
        }
        fs::write(&file, "many").unwrap();
        assert!(raise(&file).is_err());
        assert!(raise(&folder.path().join("missing")).is_err());
    }
}
