//! What one name in a folder is, as far as two of them can differ.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::lgetxattr;

/// overlayfs's mark of a folder that hides the one below it; the second name is of mounts without privilege.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];
const CHUNK: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Link,
    /// A character device 0:0, overlayfs's sign for "deleted".
    Whiteout,
    Other,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct ReadError {
    path: PathBuf,
    source: io::Error,
}

impl ReadError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self { path, source }
    }
}

pub fn kind(facts: &Metadata) -> Kind {
    let kind = facts.file_type();
    match () {
        () if kind.is_file() => Kind::File,
        () if kind.is_dir() => Kind::Folder,
        () if kind.is_symlink() => Kind::Link,
        () if kind.is_char_device() && facts.rdev() == 0 => Kind::Whiteout,
        () => Kind::Other,
    }
}

/// None where there is nothing by that name.
pub fn facts(path: &Path) -> Result<Option<Metadata>, ReadError> {
    match fs::symlink_metadata(path) {
        Ok(facts) => Ok(Some(facts)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(ReadError::at(path)(error)),
    }
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Result<Vec<OsString>, ReadError> {
    let entries = fs::read_dir(folder).map_err(ReadError::at(folder))?;
    let names: io::Result<Vec<_>> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let mut names = names.map_err(ReadError::at(folder))?;
    names.sort();
    Ok(names)
}

pub fn is_opaque(folder: &Path) -> bool {
    let mut value = [0; 1];
    OPAQUE
        .iter()
        .any(|name| lgetxattr(folder, *name, &mut value).is_ok_and(|length| length == 1) && value == *b"y")
}

/// Whether two entries of one kind are the same: owner, mode and content. Times do not count.
pub fn same(kind: Kind, one: (&Path, &Metadata), other: (&Path, &Metadata)) -> Result<bool, ReadError> {
    let owned_alike = one.1.uid() == other.1.uid() && one.1.gid() == other.1.gid();
    let attributes = owned_alike && (kind == Kind::Link || one.1.mode() == other.1.mode());
    Ok(attributes
        && match kind {
            Kind::Folder | Kind::Whiteout => true,
            Kind::Link => target(one.0)? == target(other.0)?,
            Kind::Other => one.1.rdev() == other.1.rdev(),
            Kind::File => one.1.len() == other.1.len() && same_bytes(one.0, other.0)?,
        })
}

fn target(link: &Path) -> Result<PathBuf, ReadError> {
    fs::read_link(link).map_err(ReadError::at(link))
}

fn same_bytes(one: &Path, other: &Path) -> Result<bool, ReadError> {
    let open = |path: &Path| File::open(path).map(BufReader::new).map_err(ReadError::at(path));
    let (mut left, mut right) = (open(one)?, open(other)?);
    let (mut here, mut there) = (Vec::new(), Vec::new());
    loop {
        here.clear();
        there.clear();
        let limit = CHUNK as u64;
        left.by_ref().take(limit).read_to_end(&mut here).map_err(ReadError::at(one))?;
        right.by_ref().take(limit).read_to_end(&mut there).map_err(ReadError::at(other))?;
        if here != there {
            return Ok(false);
        }
        if here.is_empty() {
            return Ok(true);
        }
    }
}
