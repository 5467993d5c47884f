//! The wish that a member shall be a new cluster of its own at its next start, and the note that it has been one:
//! the way back from a lost majority is taken once, whatever flags stay behind. It must never be granted twice for
//! one wish.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::identity::{self, Identity, IdentityError};

const WISH: &str = "force-new-cluster";
const DONE: &str = "forced";
const WISH_TEXT: &str = "The next start makes a new cluster of this member alone, and removes this file.\n";
const DONE_TEXT: &str = "-force-new-cluster was followed here. Remove this file to have it followed again.\n";

/// What makes a member start alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A file in its data: followed once.
    Wish,
    /// The flag, in a directory where it was not followed before.
    Flag,
}

/// Asks the next start for it.
pub fn wish(data_dir: &Path) -> io::Result<()> {
    identity::write_whole(&data_dir.join(WISH), WISH_TEXT)
}

/// Asks the next start for it, in another cluster than the former one: members that are not as lost as was
/// believed cannot come back into it.
pub fn leave(data_dir: &Path, former: &Identity) -> Result<Identity, IdentityError> {
    wish(data_dir).map_err(|error| IdentityError::Io(data_dir.join(WISH), error))?;
    identity::renew_cluster(data_dir, former)
}

/// Whether to start alone. A flag that was left behind would throw out the members that were added since.
pub fn wanted(data_dir: &Path, flag: bool) -> Option<Reason> {
    if data_dir.join(WISH).exists() {
        return Some(Reason::Wish);
    }
    if flag && data_dir.join(DONE).exists() {
        let file = data_dir.join(DONE);
        tracing::warn!(
            "-force-new-cluster is not followed a second time: remove the flag, or {} to have it followed again",
            file.display()
        );
        return None;
    }
    flag.then_some(Reason::Flag)
}

/// It is alone now.
pub fn done(data_dir: &Path) -> Result<(), (PathBuf, io::Error)> {
    let note = data_dir.join(DONE);
    identity::write_whole(&note, DONE_TEXT).map_err(|error| (note, error))?;
    let wish = data_dir.join(WISH);
    match fs::remove_file(&wish) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err((wish, error)),
        _ => fs::File::open(data_dir).and_then(|folder| folder.sync_all()).map_err(|error| (wish, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_followed_once_and_a_flag_that_stays_behind_too() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        assert_eq!((wanted(data, false), wanted(data, true)), (None, Some(Reason::Flag)));
        done(data).unwrap();
        assert_eq!((wanted(data, false), wanted(data, true)), (None, None));
        wish(data).unwrap();
        assert_eq!(wanted(data, false), Some(Reason::Wish));
        done(data).unwrap();
        assert_eq!((wanted(data, false), wanted(data, true)), (None, None));
        fs::remove_file(data.join(DONE)).unwrap();
        assert_eq!(wanted(data, true), Some(Reason::Flag));
    }

    #[test]
    fn who_leaves_keeps_its_id_in_another_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let former = identity::take(folder.path(), 0xc, 0xa).unwrap();
        let new = leave(folder.path(), &former).unwrap();
        assert_eq!((new.member_id, new.disk), (former.member_id, former.disk));
        assert_ne!(new.cluster_id, former.cluster_id);
        assert_eq!(identity::read(folder.path()).unwrap(), Some(new));
        assert_eq!(wanted(folder.path(), false), Some(Reason::Wish));
    }
}
