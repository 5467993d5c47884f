//! The properties of a directory entry that are compared.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::lgetxattr;

/// overlayfs's xattr of an opaque folder; the second name is that of unprivileged mounts.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];
const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Link,
    /// A character device 0:0: overlayfs's marker of a deleted entry.
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

pub fn kind(metadata: &Metadata) -> Kind {
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => Kind::File,
        () if kind.is_dir() => Kind::Folder,
        () if kind.is_symlink() => Kind::Link,
        () if kind.is_char_device() && metadata.rdev() == 0 => Kind::Whiteout,
        () => Kind::Other,
    }
}

/// `None` if the entry does not exist.
pub fn metadata(path: &Path) -> Result<Option<Metadata>, ReadError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(ReadError::at(path)(error)),
    }
}

/// The entries of a folder, sorted.
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

/// Compares owner, mode and content of two entries of one type. Timestamps are ignored.
pub fn is_same(kind: Kind, one: (&Path, &Metadata), other: (&Path, &Metadata)) -> Result<bool, ReadError> {
    let owned_alike = one.1.uid() == other.1.uid() && one.1.gid() == other.1.gid();
    let attributes = owned_alike && (kind == Kind::Link || one.1.mode() == other.1.mode());
    Ok(attributes
        && match kind {
            Kind::Folder | Kind::Whiteout => true,
            Kind::Link => target(one.0)? == target(other.0)?,
            Kind::Other => one.1.rdev() == other.1.rdev(),
            Kind::File => one.1.len() == other.1.len() && has_same_bytes(one.0, other.0)?,
        })
}

fn target(link: &Path) -> Result<PathBuf, ReadError> {
    fs::read_link(link).map_err(ReadError::at(link))
}

fn has_same_bytes(one: &Path, other: &Path) -> Result<bool, ReadError> {
    let open = |path: &Path| File::open(path).map(BufReader::new).map_err(ReadError::at(path));
    let (mut left, mut right) = (open(one)?, open(other)?);
    let (mut left_chunk, mut right_chunk) = (Vec::new(), Vec::new());
    loop {
        left_chunk.clear();
        right_chunk.clear();
        let limit = CHUNK_BYTES as u64;
        left.by_ref().take(limit).read_to_end(&mut left_chunk).map_err(ReadError::at(one))?;
        right.by_ref().take(limit).read_to_end(&mut right_chunk).map_err(ReadError::at(other))?;
        if left_chunk != right_chunk {
            return Ok(false);
        }
        if left_chunk.is_empty() {
            return Ok(true);
        }
    }
}
