//! `-force-new-cluster`: recovery from a lost majority, by a flag or by a file in the data directory. It takes effect
//! once: a flag that is left behind must not remove the members that were added since.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::storage::identity::{self, Identity, IdentityError};

const REQUEST_FILE: &str = "force-new-cluster";
const DONE_FILE: &str = "forced";
const REQUEST_TEXT: &str =
    "The next start makes a new cluster of this member alone, and removes this file.\n";
const DONE_TEXT: &str = "-force-new-cluster was followed here. Remove this file to have it followed again.\n";

/// Why a member starts as a new cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A file in the data directory, which takes effect once.
    File,
    /// The flag, in a directory where it has not taken effect before.
    Flag,
}

/// Requests a new cluster at the next start.
pub fn request(data_dir: &Path) -> io::Result<()> {
    identity::write_atomic(&data_dir.join(REQUEST_FILE), REQUEST_TEXT)
}

/// Like the other request, with a new cluster id: former members that turn out to be alive cannot rejoin.
pub fn leave(data_dir: &Path, previous: &Identity) -> Result<Identity, IdentityError> {
    request(data_dir).map_err(|error| IdentityError::Io(data_dir.join(REQUEST_FILE), error))?;
    identity::assign_new_cluster_id(data_dir, previous)
}

/// Whether to start as a new cluster. A flag that has taken effect before is ignored.
pub fn trigger(data_dir: &Path, flag: bool) -> Option<Trigger> {
    if data_dir.join(REQUEST_FILE).exists() {
        return Some(Trigger::File);
    }
    if flag && data_dir.join(DONE_FILE).exists() {
        let file = data_dir.join(DONE_FILE);
        tracing::warn!(
            "-force-new-cluster is not followed a second time: remove the flag, or {} to have it followed again",
            file.display()
        );
        return None;
    }
    flag.then_some(Trigger::Flag)
}

/// Records that the new cluster was started.
pub fn complete(data_dir: &Path) -> Result<(), (PathBuf, io::Error)> {
    let marker = data_dir.join(DONE_FILE);
    identity::write_atomic(&marker, DONE_TEXT).map_err(|error| (marker, error))?;
    let request = data_dir.join(REQUEST_FILE);
    match fs::remove_file(&request) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err((request, error)),
        _ => fs::File::open(data_dir).and_then(|folder| folder.sync_all()).map_err(|error| (request, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_a_leftover_flag_take_effect_once() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        assert_eq!((trigger(data, false), trigger(data, true)), (None, Some(Trigger::Flag)));
        complete(data).unwrap();
        assert_eq!((trigger(data, false), trigger(data, true)), (None, None));
        request(data).unwrap();
        assert_eq!(trigger(data, false), Some(Trigger::File));
        complete(data).unwrap();
        assert_eq!((trigger(data, false), trigger(data, true)), (None, None));
        fs::remove_file(data.join(DONE_FILE)).unwrap();
        assert_eq!(trigger(data, true), Some(Trigger::Flag));
    }

    #[test]
    fn leaving_changes_the_cluster_id_only() {
        let folder = tempfile::tempdir().unwrap();
        let previous = identity::open_or_create(folder.path(), 0xc, 0xa).unwrap();
        let new = leave(folder.path(), &previous).unwrap();
        assert_eq!((new.member_id, new.disk), (previous.member_id, previous.disk));
        assert_ne!(new.cluster_id, previous.cluster_id);
        assert_eq!(identity::read(folder.path()).unwrap(), Some(new));
        assert_eq!(trigger(folder.path(), false), Some(Trigger::File));
    }
}
