//! Links to the unit files in systemd's runtime directory.
//!
//! They are created and removed directly. After `LinkUnitFiles` or `DisableUnitFiles`, systemd considers all its
//! units changed on disk until the next daemon-reload, which `systemctl status` reports for each.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use unit_file::UnitName;

use crate::error::Error;

/// A directory in systemd's unit search path.
#[derive(Debug, Clone)]
pub(crate) struct Links(PathBuf);

impl Links {
    pub fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    fn path(&self, name: &UnitName) -> PathBuf {
        self.0.join(name.as_str())
    }

    /// Replaces an existing link.
    pub fn create(&self, name: &UnitName, file: &Path) -> Result<(), Error> {
        let path = self.path(name);
        let failed = |source| Error::file("link", &path, source);
        if fs::read_link(&path).is_ok_and(|target| target == file) {
            return Ok(());
        }
        fs::create_dir_all(&self.0).map_err(failed)?;
        // systemd ignores this name.
        let new = self.0.join(format!(".{name}.new"));
        ignore_missing(fs::remove_file(&new)).map_err(failed)?;
        symlink(file, &new).and_then(|()| fs::rename(&new, &path)).map_err(failed)
    }

    /// A link to another file is not removed.
    pub fn remove(&self, name: &UnitName, file: &Path) -> Result<(), Error> {
        let path = self.path(name);
        if !fs::read_link(&path).is_ok_and(|target| target == file) {
            return Ok(());
        }
        ignore_missing(fs::remove_file(&path)).map_err(|source| Error::file("remove the link", &path, source))
    }
}

fn ignore_missing(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_link_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let (links, name) =
            (Links::new(directory.path().join("system")), UnitName::parse("a.service").unwrap());
        let (ours, others) = (Path::new("/run/fleet/units/a.service"), Path::new("/opt/a.service"));
        let target = || fs::read_link(directory.path().join("system/a.service")).ok();
        for _ in 0..2 {
            links.create(&name, ours).unwrap();
            assert_eq!(target().as_deref(), Some(ours));
        }
        links.remove(&name, others).unwrap();
        assert_eq!(target().as_deref(), Some(ours));
        for _ in 0..2 {
            links.remove(&name, ours).unwrap();
            assert_eq!(target(), None);
        }
        links.create(&name, others).unwrap();
        links.create(&name, ours).unwrap();
        assert_eq!(target().as_deref(), Some(ours));
        assert_eq!(fs::read_dir(directory.path().join("system")).unwrap().count(), 1);
    }
}
