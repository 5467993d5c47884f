//! What a daemon took for a reboot and did not give back yet. It outlives the daemon and the boot: one with another
//! strategy gives it back, too.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::hands::fleet::Memory;

/// Written before the lock is asked for, removed when it is certain that it is not held.
pub struct LockMark(PathBuf);

impl LockMark {
    pub fn in_folder(folder: &Path) -> Self {
        Self(folder.join("lock-asked-for"))
    }

    pub fn is_there(&self) -> bool {
        self.0.exists()
    }

    pub fn put(&self) -> io::Result<()> {
        if let Some(folder) = self.0.parent() {
            fs::create_dir_all(folder)?;
        }
        whole_file::replace(&self.0, b"", 0o644)
    }

    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether the lock may be held, or units were moved away.
pub fn anything(folder: &Path) -> bool {
    LockMark::in_folder(folder).is_there()
        || Memory::in_folder(folder).before().is_ok_and(|before| before.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_there_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state");
        assert!(!anything(&folder));
        let mark = LockMark::in_folder(&folder);
        mark.remove().unwrap();
        mark.put().unwrap();
        mark.put().unwrap();
        assert!(mark.is_there() && anything(&folder));
        mark.remove().unwrap();
        assert!(!anything(&folder));
    }
}
