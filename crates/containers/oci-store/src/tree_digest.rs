//! The digest of an unpacked tree: a sorted list of its files, a line each, and the SHA-256 of the list.
//!
//! A line has type, mode, owner, group, length, SHA-256 of the content (of a link: its target; of a device: its number),
//! SHA-256 of its capabilities or `-`, and the path, in which bytes other than visible ASCII are written `\xHH`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use oci_image::Digest;
use sha2::{Digest as _, Sha256};

use crate::blob::hash;
use crate::folder::names;

const HEADER: &str = "keelson-tree 1";
const CAPABILITY: &str = "security.capability";
const MAX_CAPABILITY: usize = 256;
/// A line: a path of 128 escaped names at most.
const MAX_LINE: u64 = 1 << 18;
const FIELDS_BEFORE_PATH: usize = 7;

/// Why a tree is not what was unpacked.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum VerifyError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the list of files, {0}, was changed")]
    List(PathBuf),
    #[error("{path} differs from the image: found {found:?}, expected {expected:?}")]
    Differs { path: String, found: String, expected: String },
    #[error("{0} is not in the image")]
    Added(String),
    #[error("{0} is missing")]
    Missing(String),
}

/// Writes the list of a tree's files and returns its digest.
pub fn record(tree: &Path, list: &Path) -> Result<Digest, VerifyError> {
    let failed = |source| VerifyError::Read { path: list.to_owned(), source };
    let mut out = BufWriter::new(File::create(list).map_err(failed)?);
    let mut hasher = Sha256::new();
    walk(tree, &mut |line| {
        hasher.update(line);
        hasher.update(b"\n");
        out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).map_err(failed)
    })?;
    out.flush().map_err(failed)?;
    Ok(Digest::from_hasher(hasher))
}

/// Compares a tree with its list.
pub fn verify(tree: &Path, list: &Path, digest: Digest) -> Result<(), VerifyError> {
    let failed = |source| VerifyError::Read { path: list.to_owned(), source };
    let mut file = File::open(list).map_err(failed)?;
    let mut hasher = Sha256::new();
    hash(&mut file, &mut hasher).map_err(failed)?;
    if Digest::from_hasher(hasher) != digest {
        return Err(VerifyError::List(list.to_owned()));
    }
    let mut lines = BufReader::new(File::open(list).map_err(failed)?);
    let mut next = move || {
        let mut line = String::new();
        lines.by_ref().take(MAX_LINE).read_line(&mut line).map_err(failed)?;
        Ok(line.trim_end_matches('\n').to_owned())
    };
    walk(tree, &mut |found| {
        let expected = next()?;
        if expected == found { Ok(()) } else { Err(difference(found, &expected)) }
    })?;
    match next()? {
        rest if rest.is_empty() => Ok(()),
        rest => Err(VerifyError::Missing(path_of(&rest).to_owned())),
    }
}

/// Both lists have the same order, so the smaller path is the one that only its list has.
fn difference(found: &str, expected: &str) -> VerifyError {
    let (found_path, expected_path) = (path_of(found), path_of(expected));
    if expected.is_empty() {
        VerifyError::Added(found_path.to_owned())
    } else if found_path == expected_path {
        let fields = |line: &str| line.split(' ').take(FIELDS_BEFORE_PATH).collect::<Vec<_>>().join(" ");
        VerifyError::Differs { path: found_path.to_owned(), found: fields(found), expected: fields(expected) }
    } else if found_path.split('/').lt(expected_path.split('/')) {
        VerifyError::Added(found_path.to_owned())
    } else {
        VerifyError::Missing(expected_path.to_owned())
    }
}

fn path_of(line: &str) -> &str {
    line.splitn(FIELDS_BEFORE_PATH + 1, ' ').nth(FIELDS_BEFORE_PATH).unwrap_or(line)
}

type Sink<'a> = dyn FnMut(&str) -> Result<(), VerifyError> + 'a;

fn walk(tree: &Path, sink: &mut Sink<'_>) -> Result<(), VerifyError> {
    let read = |source: io::Error| VerifyError::Read { path: tree.to_owned(), source };
    let folder = File::open(tree).map_err(read)?;
    sink(HEADER)?;
    let status = fstat(&folder).map_err(|error| read(error.into()))?;
    let none = Digest::of(&[]).hex();
    sink(&line(&status, "d", &none, "-", "/"))?;
    walk_folder(tree, &folder, "", sink)
}

fn walk_folder(tree: &Path, folder: &File, path: &str, sink: &mut Sink<'_>) -> Result<(), VerifyError> {
    let located = |name: &str| tree.join(path.trim_start_matches('/')).join(name);
    let mut children = names(folder).map_err(|source| VerifyError::Read { path: located(""), source })?;
    // By the escaped names, in which the lines are compared.
    children.sort_by_cached_key(|name| escape(name));
    for name in children {
        let path = format!("{path}/{}", escape(&name));
        let failed = |error: Errno| VerifyError::Read {
            path: tree.join(path.trim_start_matches('/')),
            source: error.into(),
        };
        let status = fstatat(folder, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
        let open = |flags: OFlag| {
            let flags = flags | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
            openat(folder, name.as_os_str(), flags, Mode::empty()).map(File::from).map_err(failed)
        };
        let kind = SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits());
        let text = if kind == SFlag::S_IFDIR {
            let child = open(OFlag::O_DIRECTORY)?;
            sink(&line(&status, "d", &Digest::of(&[]).hex(), "-", &path))?;
            walk_folder(tree, &child, &path, sink)?;
            continue;
        } else if kind == SFlag::S_IFREG {
            let mut file = open(OFlag::empty())?;
            let mut hasher = Sha256::new();
            hash(&mut file, &mut hasher)
                .map_err(|source| VerifyError::Read { path: located(&escape(&name)), source })?;
            let capability =
                capability(&file).map_err(|error| failed(Errno::from_raw(error.raw_os_error())))?;
            line(&status, "f", &Digest::from_hasher(hasher).hex(), &capability, &path)
        } else if kind == SFlag::S_IFLNK {
            let target = readlinkat(folder, name.as_os_str()).map_err(failed)?;
            line(&status, "l", &Digest::of(target.as_bytes()).hex(), "-", &path)
        } else {
            let letter = if kind == SFlag::S_IFCHR {
                "c"
            } else if kind == SFlag::S_IFBLK {
                "b"
            } else {
                "p"
            };
            line(&status, letter, &Digest::of(status.st_rdev.to_string().as_bytes()).hex(), "-", &path)
        };
        sink(&text)?;
    }
    Ok(())
}

fn line(status: &FileStat, kind: &str, content: &str, capability: &str, path: &str) -> String {
    // A folder's length depends on the file system.
    let size = if kind == "d" { 0 } else { status.st_size };
    let mode = status.st_mode & 0o7777;
    format!("{kind} {mode:04o} {} {} {size} {content} {capability} {path}", status.st_uid, status.st_gid)
}

fn capability(file: &File) -> Result<String, rustix::io::Errno> {
    let mut value = vec![0; MAX_CAPABILITY];
    match rustix::fs::fgetxattr(file, CAPABILITY, &mut value[..]) {
        Ok(length) => Ok(Digest::of(value.get(..length).unwrap_or_default()).hex()),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok("-".to_owned()),
        Err(error) => Err(error),
    }
}

fn escape(name: &OsStr) -> String {
    name.as_bytes().iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_graphic() && *byte != b'\\' {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("\\x{byte:02x}"));
        }
        text
    })
}
