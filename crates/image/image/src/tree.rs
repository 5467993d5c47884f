//! Folders as values: their digest, a cheap copy, one laid over another.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::fetch::hex;

/// Where `/etc` has its defaults in a node's tree.
pub const FACTORY_ETC: &str = "usr/share/factory/etc";

/// A file operation that failed, with its place.
#[derive(Debug, thiserror::Error)]
#[error("{path}")]
pub struct TreeError {
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

/// Adds the place to an input/output error.
pub trait At<T> {
    fn at(self, path: &Path) -> Result<T, TreeError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, TreeError> {
        self.map_err(|source| TreeError { path: path.to_path_buf(), source })
    }
}

/// Everything below `folder`, parents before children, in the order of names; paths are relative to it.
pub fn walk(folder: &Path) -> Result<Vec<PathBuf>, TreeError> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        let here = folder.join(&below);
        let mut names = Vec::new();
        for entry in fs::read_dir(&here).at(&here)? {
            names.push(entry.at(&here)?.file_name());
        }
        names.sort_by(|left, right| right.cmp(left));
        if !below.as_os_str().is_empty() {
            found.push(below.clone());
        }
        for name in names {
            let path = below.join(name);
            if folder.join(&path).symlink_metadata().at(&path)?.is_dir() {
                waiting.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Hex SHA-256 over names, kinds, executable bits and contents of a file or folder. A missing one has a digest too.
pub fn digest(path: &Path) -> Result<String, TreeError> {
    let mut hash = Sha256::new();
    let Ok(metadata) = path.symlink_metadata() else { return Ok("absent".to_owned()) };
    let paths = if metadata.is_dir() { walk(path)? } else { vec![PathBuf::new()] };
    for below in paths {
        let file = if below.as_os_str().is_empty() { path.to_path_buf() } else { path.join(&below) };
        let metadata = file.symlink_metadata().at(&file)?;
        hash.update(below.as_os_str().as_bytes());
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

/// Makes `to` a copy of `from` whose files share their bytes. Writers must replace files, not change them:
/// all of this module do.
pub fn clone_by_links(from: &Path, to: &Path) -> Result<(), TreeError> {
    fs::create_dir_all(to).at(to)?;
    for below in walk(from)? {
        let (source, target) = (from.join(&below), to.join(&below));
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

/// Puts every file of `layer` into `tree`, replacing what stands there. Modes become 0755 for folders and
/// executables and 0644 for the rest, whatever the checkout's umask was.
pub fn lay_over(layer: &Path, tree: &Path) -> Result<(), TreeError> {
    for below in walk(layer)? {
        let (source, target) = (layer.join(&below), tree.join(&below));
        let metadata = source.symlink_metadata().at(&source)?;
        if metadata.is_dir() {
            make_folder(&target)?;
        } else if metadata.is_symlink() {
            let link = fs::read_link(&source).at(&source)?;
            put_link(&target, &link)?;
        } else {
            let mode = if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
            put(&target, &fs::read(&source).at(&source)?, mode)?;
        }
    }
    Ok(())
}

/// A folder with the mode of a public one; existing ones stay as they are.
pub fn make_folder(path: &Path) -> Result<(), TreeError> {
    if path.is_dir() {
        return Ok(());
    }
    // A relative name's last parent is the empty one: here.
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    fs::create_dir(path).at(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755)).at(path)
}

/// Writes a new file in the place of whatever is there.
pub fn put(path: &Path, content: &[u8], mode: u32) -> Result<(), TreeError> {
    clear(path)?;
    fs::write(path, content).at(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode)).at(path)
}

/// Makes a symbolic link in the place of whatever is there.
pub fn put_link(path: &Path, target: &Path) -> Result<(), TreeError> {
    clear(path)?;
    symlink(target, path).at(path)
}

fn clear(path: &Path) -> Result<(), TreeError> {
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at(path),
        _ => Ok(()),
    }
}

/// Removes a folder, if there is one.
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
    fn a_layer_replaces_files_and_the_clone_s_original_keeps_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        put(&at("base/etc/a"), b"old", 0o600).unwrap();
        put(&at("layer/etc/a"), b"new", 0o755).unwrap();
        put_link(&at("layer/b"), Path::new("etc/a")).unwrap();
        clone_by_links(&at("base"), &at("tree")).unwrap();
        assert_eq!(digest(&at("base")).unwrap(), digest(&at("tree")).unwrap());
        lay_over(&at("layer"), &at("tree")).unwrap();
        assert_eq!(fs::read(at("base/etc/a")).unwrap(), b"old");
        assert_eq!(fs::read(at("tree/b")).unwrap(), b"new");
        assert_eq!(at("tree/etc/a").metadata().unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(walk(&at("tree")).unwrap(), ["b", "etc", "etc/a"].map(PathBuf::from));
    }

    #[test]
    fn a_digest_sees_content_name_kind_and_executable_bit() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("t");
        let mut seen = std::collections::BTreeSet::new();
        let mut note = |change: &dyn Fn()| {
            change();
            assert!(seen.insert(digest(&tree).unwrap()), "a change was not seen");
        };
        note(&|| ());
        note(&|| put(&tree.join("a"), b"1", 0o644).unwrap());
        note(&|| put(&tree.join("a"), b"2", 0o644).unwrap());
        note(&|| put(&tree.join("a"), b"2", 0o755).unwrap());
        note(&|| put_link(&tree.join("a"), Path::new("2")).unwrap());
        note(&|| fs::rename(tree.join("a"), tree.join("b")).unwrap());
    }
}
