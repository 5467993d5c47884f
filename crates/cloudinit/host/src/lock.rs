//! A lock file that serializes runs.

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};

use crate::files::DIRECTORY_MODE;
use crate::root::{FileError, Root};

/// Maximum size of the PID in the lock file.
const MAX_HOLDER_BYTES: u64 = 16;

/// Released on drop.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Locks the file at `path` and writes this process's PID to it. If another process holds the lock, calls
/// `waiting` once with its PID, if known, and blocks.
///
/// # Errors
/// The file cannot be created or locked.
/// The file cannot be made or locked.
pub fn acquire(root: &Root, path: &str, waiting: impl FnOnce(Option<u32>)) -> Result<Lock, FileError> {
    let Some(location) = root.parent(path, Some(DIRECTORY_MODE))? else {
        return Err(FileError::NoName(path.to_owned()));
    };
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(&location.directory, location.name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)
        .map_err(|error| FileError::system("open", path, error))?;
    let locked = match Flock::lock(File::from(file), FlockArg::LockExclusiveNonblock) {
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut holder = String::new();
            // Used in the message only.
            drop((&mut file).take(MAX_HOLDER_BYTES).read_to_string(&mut holder));
            waiting(holder.trim().parse().ok());
            Flock::lock(file, FlockArg::LockExclusive)
        }
        locked => locked,
    };
    let mut file = locked.map_err(|(_, error)| FileError::system("lock", path, error))?;
    let id = std::process::id().to_string();
    // On failure, waiters report no PID.
    drop(file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(id.as_bytes())));
    Ok(Lock { _file: file })
}
