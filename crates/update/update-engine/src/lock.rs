//! File locks between the daemon and `update-agent`.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

/// Locks the file at `path`, creating it if necessary, until the result is dropped.
///
/// # Errors
/// The file cannot be created, or `how` does not block and another process holds the lock.
pub fn lock(path: &Path, how: FlockArg) -> io::Result<Flock<File>> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    Flock::lock(file, how).map_err(|(_, error)| error.into())
}
