//! Compares two trees, or an overlay's upper layer with its lower one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::entry::{Kind, ReadError, is_opaque, is_same, kind, metadata, names};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
    /// The file type changed, e.g. from link to file.
    Type,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub kind: ChangeKind,
    /// Relative to the compared trees. A deleted folder is one change.
    pub path: PathBuf,
}

/// The meaning of a name that only the lower tree has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The upper tree is an overlay layer, which holds changes only.
    Unchanged,
    /// The upper tree is complete.
    Deleted,
}

impl ChangeKind {
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Modified => 'M',
            Self::Deleted => 'D',
            Self::Type => 'T',
        }
    }
}

/// The changes, sorted by path.
pub fn compare(upper: &Path, lower: &Path, missing: Missing) -> Result<Vec<Change>, ReadError> {
    let mut changes = Vec::new();
    compare_folder(upper, lower, Path::new(""), missing, &mut changes)?;
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(changes)
}

fn compare_folder(
    upper: &Path,
    lower: &Path,
    path: &Path,
    missing: Missing,
    changes: &mut Vec<Change>,
) -> Result<(), ReadError> {
    let mut all: BTreeSet<_> = names(&upper.join(path))?.into_iter().collect();
    if missing == Missing::Deleted && lower.join(path).is_dir() {
        all.extend(names(&lower.join(path))?);
    }
    for name in all {
        compare_entry(upper, lower, &path.join(name), missing, changes)?;
    }
    Ok(())
}

fn compare_entry(
    upper: &Path,
    lower: &Path,
    path: &Path,
    missing: Missing,
    changes: &mut Vec<Change>,
) -> Result<(), ReadError> {
    let (upper_path, lower_path) = (upper.join(path), lower.join(path));
    let (new, old) = (metadata(&upper_path)?, metadata(&lower_path)?);
    let mut add = |change| changes.push(Change { kind: change, path: path.to_path_buf() });
    let is_deleted = new.as_ref().is_none_or(|metadata| kind(metadata) == Kind::Whiteout);
    match (new, old) {
        (_, Some(_)) if is_deleted => add(ChangeKind::Deleted),
        (Some(_), None) if is_deleted => {}
        (Some(new), None) if kind(&new) == Kind::Folder && !names(&upper_path)?.is_empty() => {
            compare_folder(upper, lower, path, Missing::Unchanged, changes)?;
        }
        (Some(_), None) => add(ChangeKind::Added),
        (Some(new), Some(old)) if kind(&new) != kind(&old) => {
            add(ChangeKind::Type);
            if kind(&new) == Kind::Folder {
                add_all(&upper_path, path, changes)?;
            }
        }
        (Some(new), Some(old)) => {
            let kind = kind(&new);
            if !is_same(kind, (&upper_path, &new), (&lower_path, &old))? {
                add(ChangeKind::Modified);
            }
            if kind == Kind::Folder {
                let missing = if is_opaque(&upper_path) { Missing::Deleted } else { missing };
                compare_folder(upper, lower, path, missing, changes)?;
            }
        }
        (None, _) => {}
    }
    Ok(())
}

/// Reports the contents of a folder that replaced another file type.
fn add_all(upper_path: &Path, path: &Path, changes: &mut Vec<Change>) -> Result<(), ReadError> {
    for name in names(upper_path)? {
        let (upper_path, path) = (upper_path.join(&name), path.join(&name));
        let is_folder = metadata(&upper_path)?.is_some_and(|metadata| kind(&metadata) == Kind::Folder);
        if is_folder && !names(&upper_path)?.is_empty() {
            add_all(&upper_path, &path, changes)?;
        } else {
            changes.push(Change { kind: ChangeKind::Added, path });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::sys::stat::{Mode, SFlag, mknod};
    use rustix::fs::{XattrFlags, lsetxattr};

    use super::*;

    struct Trees {
        folder: tempfile::TempDir,
    }

    impl Trees {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("upper")).unwrap();
            fs::create_dir(folder.path().join("lower")).unwrap();
            Self { folder }
        }

        fn path(&self, path: &str) -> PathBuf {
            let path = self.folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        }

        fn file(&self, path: &str, text: &str) {
            fs::write(self.path(path), text).unwrap();
        }

        fn check(&self, missing: Missing, expected: &[&str]) {
            let changes = compare(&self.path("upper"), &self.path("lower"), missing).unwrap();
            let lines: Vec<_> = changes
                .iter()
                .map(|change| format!("{} {}", change.kind.letter(), change.path.display()))
                .collect();
            assert_eq!(lines, expected);
        }
    }

    #[test]
    fn files_links_modes_and_types() {
        let trees = Trees::new();
        for side in ["upper", "lower"] {
            trees.file(&format!("{side}/same"), "x");
            trees.file(&format!("{side}/mode"), "x");
            trees.file(&format!("{side}/text"), side);
            symlink("/usr", trees.path(&format!("{side}/link-same"))).unwrap();
            symlink(side, trees.path(&format!("{side}/link"))).unwrap();
        }
        fs::set_permissions(trees.path("upper/mode"), fs::Permissions::from_mode(0o600)).unwrap();
        trees.file("lower/type", "");
        trees.file("upper/type/inner", "");
        trees.file("upper/new/deep/file", "");
        fs::create_dir_all(trees.path("upper/new/empty")).unwrap();
        trees.file("lower/absent", "");
        trees.file("lower/absent-folder/a", "");
        let both = ["M link", "M mode", "A new/deep/file", "A new/empty", "M text", "T type", "A type/inner"];
        trees.check(Missing::Unchanged, &both);
        let mut with_deleted = vec!["D absent", "D absent-folder"];
        with_deleted.extend(both);
        trees.check(Missing::Deleted, &with_deleted);
    }

    #[test]
    fn whiteouts_are_deletions_and_opaque_folders_hide_all() {
        let trees = Trees::new();
        trees.file("lower/gone", "");
        trees.file("lower/hidden/a", "");
        trees.file("lower/hidden/b", "");
        trees.file("lower/kept/a", "");
        trees.file("upper/hidden/b", "");
        trees.file("upper/kept/b", "");
        for path in ["upper/gone", "upper/nothing-below"] {
            mknod(&trees.path(path), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), 0).unwrap();
        }
        lsetxattr(trees.path("upper/hidden"), "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        trees.check(Missing::Unchanged, &["D gone", "D hidden/a", "A kept/b"]);
    }

    #[test]
    fn long_files_that_differ_at_their_end() {
        let trees = Trees::new();
        let text = "x".repeat(200_000);
        trees.file("lower/long", &format!("{text}a"));
        trees.file("upper/long", &format!("{text}b"));
        trees.file("lower/equal", &text);
        trees.file("upper/equal", &text);
        trees.check(Missing::Deleted, &["M long"]);
    }
}
