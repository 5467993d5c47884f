//! Reverts one path of `/etc` to the image's version.
//!
//! Accepts only paths that `diff` lists, so that a typo deletes nothing. Never follows links.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use super::compare::{Change, ChangeKind};
use super::entry::{Kind, kind};

/// The suffix of a copy before it is renamed.
const PARTIAL: &str = ".keelson-revert";

#[derive(Debug, thiserror::Error)]
pub enum RevertError {
    #[error("/etc/{0} is unchanged")]
    Unchanged(PathBuf),
    #[error(
        "/etc/{0} is a folder with {1} changes: use the path of one of them, as printed by `keelson-etc diff`"
    )]
    Several(PathBuf, usize),
    #[error("/etc/{0} is behind a symbolic link")]
    BehindLink(PathBuf),
    #[error("cannot restore /etc/{path}")]
    Write { path: PathBuf, source: io::Error },
}

/// Returns what was done, worded to follow the path.
pub fn revert(
    etc: &Path,
    lower: &Path,
    changes: &[Change],
    path: &Path,
) -> Result<&'static str, RevertError> {
    let Some(change) = changes.iter().find(|change| change.path == path) else {
        let inner = changes.iter().filter(|change| change.path.starts_with(path)).count();
        return Err(match inner {
            0 => RevertError::Unchanged(path.to_path_buf()),
            _ => RevertError::Several(path.to_path_buf(), inner),
        });
    };
    let parents = path.ancestors().skip(1).filter(|parent| parent.file_name().is_some());
    if parents.into_iter().any(|parent| etc.join(parent).is_symlink()) {
        return Err(RevertError::BehindLink(path.to_path_buf()));
    }
    let target = etc.join(path);
    let done = match change.kind {
        ChangeKind::Added => remove(&target).map(|()| "removed: it is not in the image"),
        ChangeKind::Modified if target.is_dir() && !target.is_symlink() => {
            attributes(&lower.join(path), &target).map(|()| "owner and mode restored from the image")
        }
        ChangeKind::Modified | ChangeKind::Deleted | ChangeKind::Type => {
            restore(&lower.join(path), &target).map(|()| "restored from the image")
        }
    };
    done.map_err(|source| RevertError::Write { path: path.to_path_buf(), source })
}

/// Copies beside the target and renames, so that the old version stays until the new one is complete.
fn restore(from: &Path, target: &Path) -> io::Result<()> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut partial = target.as_os_str().to_owned();
    partial.push(PARTIAL);
    let partial = PathBuf::from(partial);
    remove(&partial)?;
    copy(from, &partial)?;
    // rename(2) replaces neither a folder nor, with a folder, a file.
    let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    if is_folder(&partial) || is_folder(target) {
        remove(target)?;
    }
    fs::rename(&partial, target)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    match kind(&metadata) {
        Kind::Folder => {
            fs::create_dir(to)?;
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                copy(&entry.path(), &to.join(entry.file_name()))?;
            }
        }
        Kind::Link => symlink(fs::read_link(from)?, to)?,
        Kind::File => {
            fs::copy(from, to)?;
            fs::File::open(to)?.sync_all()?;
        }
        Kind::Whiteout | Kind::Other => {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the image has a device at this path"));
        }
    }
    attributes(from, to)
}

/// Owner before mode: chown may clear mode bits.
fn attributes(from: &Path, to: &Path) -> io::Result<()> {
    let (expected, present) = (fs::symlink_metadata(from)?, fs::symlink_metadata(to)?);
    if (expected.uid(), expected.gid()) != (present.uid(), present.gid()) {
        lchown(to, Some(expected.uid()), Some(expected.gid()))?;
    }
    if !expected.is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(expected.mode() & 0o7777))?;
    }
    Ok(())
}

/// Succeeds if the path does not exist.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::compare::{Missing, compare};
    use super::*;

    struct Trees {
        _folder: tempfile::TempDir,
        etc: PathBuf,
        lower: PathBuf,
    }

    fn trees() -> Trees {
        let folder = tempfile::tempdir().unwrap();
        let (etc, lower) = (folder.path().join("etc"), folder.path().join("lower"));
        for path in ["modified", "deleted", "type", "folder/a", "folder/b", "link-to/x"] {
            let path = lower.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "image").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        }
        symlink("modified", lower.join("link")).unwrap();
        fs::create_dir(&etc).unwrap();
        fs::write(etc.join("modified"), "mine").unwrap();
        fs::write(etc.join("added"), "mine").unwrap();
        fs::create_dir_all(etc.join("type/inner")).unwrap();
        fs::create_dir_all(etc.join("elsewhere")).unwrap();
        symlink("elsewhere", etc.join("link-to")).unwrap();
        Trees { _folder: folder, etc, lower }
    }

    impl Trees {
        fn changes(&self) -> Vec<Change> {
            compare(&self.etc, &self.lower, Missing::Deleted).unwrap()
        }

        fn revert(&self, path: &str) -> Result<&'static str, RevertError> {
            revert(&self.etc, &self.lower, &self.changes(), Path::new(path))
        }
    }

    #[test]
    fn every_kind_of_change_is_reverted() {
        let trees = trees();
        for path in ["modified", "added", "deleted", "type", "folder", "link", "link-to", "elsewhere"] {
            trees.revert(path).unwrap();
        }
        assert_eq!(trees.changes(), []);
        assert_eq!(fs::read(trees.etc.join("deleted")).unwrap(), b"image");
        assert!(!trees.etc.join("added").exists());
        let names: Vec<_> =
            fs::read_dir(&trees.etc).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().ends_with(PARTIAL)), "{names:?}");
    }

    #[test]
    fn unlisted_paths_are_untouched() {
        let trees = trees();
        trees.revert("folder").unwrap();
        assert!(matches!(trees.revert("folder/a"), Err(RevertError::Unchanged(_))));
        assert!(matches!(trees.revert("nowhere"), Err(RevertError::Unchanged(_))));
        fs::write(trees.etc.join("folder/mine"), "").unwrap();
        assert!(matches!(trees.revert("folder"), Err(RevertError::Several(_, 1))));
        assert!(trees.etc.join("folder/mine").exists());
    }

    #[test]
    fn paths_behind_links_are_refused() {
        let trees = trees();
        let change = Change { kind: ChangeKind::Deleted, path: "link-to/x".into() };
        let refused = revert(&trees.etc, &trees.lower, &[change], Path::new("link-to/x"));
        assert!(matches!(refused, Err(RevertError::BehindLink(_))));
        assert!(!trees.etc.join("elsewhere/x").exists());
    }

    #[test]
    fn leftover_copies_are_replaced() {
        let trees = trees();
        fs::create_dir(trees.etc.join(format!("modified{PARTIAL}"))).unwrap();
        trees.revert("modified").unwrap();
        assert_eq!(fs::read(trees.etc.join("modified")).unwrap(), b"image");
    }
}
