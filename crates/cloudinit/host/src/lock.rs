//! One run at a time.

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};

use crate::files::DIRECTORY_MODE;
use crate::root::{FileError, Root};

/// Of a file that holds a process's id.
const HOLDER_BYTES: u64 = 16;

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Takes the lock at `path`, and writes the process's id into it. While another process holds it, `waiting` is called once
/// with that process's id, where it is known.
///
/// # Errors
/// The file cannot be made or locked.
pub fn take(root: &Root, path: &str, waiting: impl FnOnce(Option<u32>)) -> Result<Lock, FileError> {
    let Some(place) = root.parent(path, Some(DIRECTORY_MODE))? else {
        return Err(FileError::NoName(path.to_owned()));
    };
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(&place.directory, place.name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)
        .map_err(|error| FileError::system("open", path, error))?;
    let locked = match Flock::lock(File::from(file), FlockArg::LockExclusiveNonblock) {
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut holder = String::new();
            // It is for the message only.
            drop((&mut file).take(HOLDER_BYTES).read_to_string(&mut holder));
            waiting(holder.trim().parse().ok());
            Flock::lock(file, FlockArg::LockExclusive)
        }
        locked => locked,
    };
    let mut file = locked.map_err(|(_, error)| FileError::system("lock", path, error))?;
    let id = std::process::id().to_string();
    // Without room for it the message of who waits has no id.
    drop(file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(id.as_bytes())));
    Ok(Lock { _file: file })
}
