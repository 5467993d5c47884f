//! Operations on file trees: digest, hard-link copy, layers.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::fetch::hex;

/// Defaults of `/etc` in a node's tree.
pub const FACTORY_ETC: &str = "usr/share/factory/etc";

/// A failed file operation with its path.
#[derive(Debug, thiserror::Error)]
#[error("{path}")]
pub struct TreeError {
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

/// Adds the path to an I/O error.
pub trait PathContext<T> {
    fn at(self, path: &Path) -> Result<T, TreeError>;
}

impl<T> PathContext<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, TreeError> {
        self.map_err(|source| TreeError { path: path.to_path_buf(), source })
    }
}

/// All paths below `folder`, relative to it, sorted, parents before children.
pub fn walk(folder: &Path) -> Result<Vec<PathBuf>, TreeError> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        let folder_path = folder.join(&relative);
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder_path).at(&folder_path)? {
            names.push(entry.at(&folder_path)?.file_name());
        }
        names.sort_by(|left, right| right.cmp(left));
        if !relative.as_os_str().is_empty() {
            found.push(relative.clone());
        }
        for name in names {
            let path = relative.join(name);
            if folder.join(&path).symlink_metadata().at(&path)?.is_dir() {
                pending.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Hex SHA-256 over names, kinds, executable bits and contents of a file or folder. A missing path has a digest too.
pub fn digest(path: &Path) -> Result<String, TreeError> {
    let mut hash = Sha256::new();
    let Ok(metadata) = path.symlink_metadata() else { return Ok("absent".to_owned()) };
    let paths = if metadata.is_dir() { walk(path)? } else { vec![PathBuf::new()] };
    for relative in paths {
        let file = if relative.as_os_str().is_empty() { path.to_path_buf() } else { path.join(&relative) };
        let metadata = file.symlink_metadata().at(&file)?;
        hash.update(relative.as_os_str().as_bytes());
        if metadata.is_symlink() {
            hash.update(b"\0l");
            hash.update(fs::read_link(&file).at(&file)?.as_os_str().as_bytes());
        } else if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            hash.update(if executable { b"\0x" } else { b"\0f" });
            let content = fs::read(&file).at(&file)?;
            hash.update(content.len().to_le_bytes());
            hash.update(content);
        } else {
            hash.update(b"\0d");
        }
    }
    Ok(hex(&hash.finalize()))
}

/// Copies `from` to `to` with hard links. Writers must replace files instead of modifying them, as all functions of
/// this module do.
pub fn clone_with_hard_links(from: &Path, to: &Path) -> Result<(), TreeError> {
    fs::create_dir_all(to).at(to)?;
    for relative in walk(from)? {
        let (source, target) = (from.join(&relative), to.join(&relative));
        let metadata = source.symlink_metadata().at(&source)?;
        if metadata.is_dir() {
            fs::create_dir(&target).at(&target)?;
            fs::set_permissions(&target, metadata.permissions()).at(&target)?;
        } else {
            fs::hard_link(&source, &target).at(&target)?;
        }
    }
    Ok(())
}

/// Copies every file of `layer` to `tree`, replacing existing ones. Modes become 0755 for folders and executables and
/// 0644 for other files, independent of the checkout's umask.
pub fn apply_layer(layer: &Path, tree: &Path) -> Result<(), TreeError> {
    for relative in walk(layer)? {
        let (source, target) = (layer.join(&relative), tree.join(&relative));
        let metadata = source.symlink_metadata().at(&source)?;
        if metadata.is_dir() {
            make_folder(&target)?;
        } else if metadata.is_symlink() {
            let link = fs::read_link(&source).at(&source)?;
            write_link(&target, &link)?;
        } else {
            let mode = if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
            write_file(&target, &fs::read(&source).at(&source)?, mode)?;
        }
    }
    Ok(())
}

/// Creates a folder with mode 0755; existing ones are unchanged.
pub fn make_folder(path: &Path) -> Result<(), TreeError> {
    if path.is_dir() {
        return Ok(());
    }
    // The parent of a relative name is the empty path.
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    fs::create_dir(path).at(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755)).at(path)
}

pub fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<(), TreeError> {
    prepare_target(path)?;
    fs::write(path, content).at(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode)).at(path)
}

/// Creates a symbolic link, replacing an existing file.
pub fn write_link(path: &Path, target: &Path) -> Result<(), TreeError> {
    prepare_target(path)?;
    symlink(target, path).at(path)
}

fn prepare_target(path: &Path) -> Result<(), TreeError> {
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at(path),
        _ => Ok(()),
    }
}

pub fn remove(folder: &Path) -> Result<(), TreeError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at(folder),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_does_not_modify_the_clone_s_original() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write_file(&at("base/etc/a"), b"old", 0o600).unwrap();
        write_file(&at("layer/etc/a"), b"new", 0o755).unwrap();
        write_link(&at("layer/b"), Path::new("etc/a")).unwrap();
        clone_with_hard_links(&at("base"), &at("tree")).unwrap();
        assert_eq!(digest(&at("base")).unwrap(), digest(&at("tree")).unwrap());
        apply_layer(&at("layer"), &at("tree")).unwrap();
        assert_eq!(fs::read(at("base/etc/a")).unwrap(), b"old");
        assert_eq!(fs::read(at("tree/b")).unwrap(), b"new");
        assert_eq!(at("tree/etc/a").metadata().unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(walk(&at("tree")).unwrap(), ["b", "etc", "etc/a"].map(PathBuf::from));
    }

    #[test]
    fn a_digest_covers_content_name_kind_and_executable_bit() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("t");
        let mut digests = std::collections::BTreeSet::new();
        let mut check_new = |change: &dyn Fn()| {
            change();
            assert!(digests.insert(digest(&tree).unwrap()), "a change was not seen");
        };
        check_new(&|| ());
        check_new(&|| write_file(&tree.join("a"), b"1", 0o644).unwrap());
        check_new(&|| write_file(&tree.join("a"), b"2", 0o644).unwrap());
        check_new(&|| write_file(&tree.join("a"), b"2", 0o755).unwrap());
        check_new(&|| write_link(&tree.join("a"), Path::new("2")).unwrap());
        check_new(&|| fs::rename(tree.join("a"), tree.join("b")).unwrap());
    }
}
