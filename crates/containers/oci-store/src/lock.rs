//! Locks between processes that use one store.
//!
//! An operation that adds or reads content holds the store's lock shared, the collection of garbage exclusively: it can
//! therefore remove whatever no record names. Named locks, below a shared one, serialize work on one blob or tree.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Released on drop.
pub type Lock = Flock<File>;

const STORE_LOCK: &str = "lock";
/// The folder of named locks.
pub const NAMED: &str = "locks";

/// Waits while garbage is collected.
pub fn shared(store: &Path) -> io::Result<Lock> {
    lock(&store.join(STORE_LOCK), FlockArg::LockShared)
}

/// `None` if another operation runs.
pub fn try_exclusive(store: &Path) -> io::Result<Option<Lock>> {
    try_lock(&store.join(STORE_LOCK))
}

/// Waits for another operation of the same name.
pub fn named(store: &Path, name: &str) -> io::Result<Lock> {
    lock(&store.join(NAMED).join(name), FlockArg::LockExclusive)
}

/// Locks a file for reading what it stands for.
pub fn in_use(path: &Path) -> io::Result<Lock> {
    lock(path, FlockArg::LockShared)
}

/// `None` if another open file holds the lock.
pub fn try_lock(path: &Path) -> io::Result<Option<Lock>> {
    match Flock::lock(open(path)?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

fn lock(path: &Path, how: FlockArg) -> io::Result<Lock> {
    let mut file = open(path)?;
    loop {
        match Flock::lock(file, how) {
            Err((again, Errno::EINTR)) => file = again,
            locked => return locked.map_err(|(_, error)| error.into()),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).read(true).write(true).open(path)
}
