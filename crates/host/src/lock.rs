//! One run at a time.

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::Mode;
use std::fs::File;

use crate::files::DIRECTORY_MODE;
use crate::root::{FileError, Root};

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Takes the lock at `path`, waiting for whoever has it; `waiting` is told so once.
///
/// # Errors
/// The file can not be made or locked.
pub fn take(root: &Root, path: &str, waiting: impl FnOnce()) -> Result<Lock, FileError> {
    let Some(place) = root.parent(path, Some(DIRECTORY_MODE))? else {
        return Err(FileError::NoName(path.to_owned()));
    };
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(&place.directory, place.name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)
        .map_err(|error| FileError::system("open", path, error))?;
    match Flock::lock(File::from(file), FlockArg::LockExclusiveNonblock) {
        Ok(file) => Ok(Lock { _file: file }),
        Err((file, Errno::EWOULDBLOCK)) => {
            waiting();
            let file = Flock::lock(file, FlockArg::LockExclusive);
            file.map(|file| Lock { _file: file }).map_err(|(_, error)| FileError::system("lock", path, error))
        }
        Err((_, error)) => Err(FileError::system("lock", path, error)),
    }
}
