//! Work on bytes of others in a thread that writes below one folder only, and keeps the capabilities that files need.
//!
//! What is opened by the thread cannot be another program's; owners and modes are changed of open files. Where the kernel has
//! no Landlock, the resolution of paths alone keeps the thread in its folder.

use std::io;
use std::path::Path;
use std::thread;

use caps::Capability;
use restrict::{files, keep_capabilities, system_calls};

use crate::store_error::StoreError;

/// What owners, modes and capabilities of an image's files take.
pub const UNPACKING: &[Capability] = &[
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_MKNOD,
    Capability::CAP_SETFCAP,
];
/// A store that belongs to another user than root.
pub const TRANSFER: &[Capability] = &[Capability::CAP_DAC_OVERRIDE];

/// Runs `work` in such a thread, and returns its result.
///
/// # Errors
/// The kernel refuses a restriction.
pub fn run<T: Send>(
    folder: &Path,
    capabilities: &[Capability],
    work: impl FnOnce() -> T + Send,
) -> Result<T, StoreError> {
    let confine = || {
        files::allow_writes_below(folder).map_err(io::Error::other)?;
        keep_capabilities(capabilities).map_err(io::Error::other)?;
        system_calls::deny_but_files().map_err(io::Error::other)
    };
    let confined = thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, || confine().map(|()| work()))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    confined.map_err(|source| StoreError::new("confine a thread to", folder, source))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_thread_that_is_told_to_write_outside_fails() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = other.path().join("file");
        fs::write(&path, "text").unwrap();
        for capabilities in [UNPACKING, TRANSFER] {
            let outside = run(folder.path(), capabilities, || {
                fs::write(folder.path().join("own"), "text").unwrap();
                std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
                let outside = [
                    fs::write(&path, "other"),
                    fs::write(other.path().join("new"), "other"),
                    fs::write(folder.path().join("link"), "other"),
                    fs::remove_file(&path),
                    fs::rename(&path, folder.path().join("moved")),
                    fs::hard_link(folder.path().join("own"), other.path().join("hard")),
                    Command::new("/bin/true").status().map(drop),
                ];
                fs::remove_file(folder.path().join("link")).unwrap();
                outside
            });
            for (number, outcome) in outside.unwrap().into_iter().enumerate() {
                // Landlock refuses links between folders as the kernel does between file systems.
                let kind = outcome.unwrap_err().kind();
                let is_denied =
                    [io::ErrorKind::PermissionDenied, io::ErrorKind::CrossesDevices].contains(&kind);
                assert!(is_denied, "{number}: {kind:?}");
            }
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
        assert!(!other.path().join("new").exists() && folder.path().join("own").exists());
        // The caller's thread is as before.
        fs::write(&path, "changed").unwrap();
    }
}
