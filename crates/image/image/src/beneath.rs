//! Creates files beneath a tree. A symbolic link that leads out of the tree is an error, also as part of a path: it may
//! come from a package.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{linkat, symlinkat};

/// Attempts of a lookup that concurrent renames prevent from resolving `..`.
const MAX_ATTEMPTS: u32 = 10_000;
const READABLE: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
const NEW: OFlag = OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// An open tree. All paths are relative to it; modes are subject to the umask.
#[derive(Debug)]
pub struct TreeRoot(OwnedFd);

impl TreeRoot {
    pub fn open(tree: &Path) -> io::Result<Self> {
        Ok(Self(File::open(tree)?.into()))
    }

    /// Opens a folder; creates it and its parents if they are missing.
    pub fn make_folder(&self, path: &Path) -> io::Result<File> {
        let (parent, name) = match self.open_folder(path) {
            Err(Errno::ENOENT) => split(path)?,
            opened => return opened.map(File::from).map_err(explain),
        };
        match mkdirat(self.make_folder(parent)?, name, Mode::from_bits_truncate(0o777)) {
            // Created by another thread, or a link to nothing: then it cannot be opened.
            Ok(()) | Err(Errno::EEXIST) => self.open_folder(path).map(File::from).map_err(explain),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a file that must not exist, and its folder if that is missing.
    pub fn create_new_file(&self, path: &Path) -> io::Result<File> {
        self.open_file(path, NEW | OFlag::O_EXCL)
    }

    /// Creates an empty file, or truncates the existing one.
    pub fn create_file(&self, path: &Path) -> io::Result<File> {
        self.open_file(path, NEW | OFlag::O_TRUNC)
    }

    fn open_file(&self, path: &Path, flags: OFlag) -> io::Result<File> {
        let (parent, name) = split(path)?;
        let file = openat(self.make_folder(parent)?, name, flags, Mode::from_bits_truncate(0o666));
        Ok(file?.into())
    }

    /// `target` is not resolved.
    pub fn create_link(&self, target: &Path, path: &Path) -> io::Result<()> {
        let (parent, name) = split(path)?;
        Ok(symlinkat(target, self.make_folder(parent)?, name)?)
    }

    /// If `original` is a symbolic link, the link itself gets another name.
    pub fn create_hard_link(&self, original: &Path, path: &Path) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let (original_parent, original_name) = split(original)?;
        let original_parent = self.open_folder(original_parent).map_err(explain)?;
        Ok(linkat(original_parent, original_name, self.make_folder(parent)?, name, AtFlags::empty())?)
    }

    fn open_folder(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OpenHow::new().flags(READABLE).resolve(ResolveFlag::RESOLVE_BENEATH);
        for _ in 1..MAX_ATTEMPTS {
            match openat2(&self.0, path, how) {
                Err(Errno::EAGAIN) => std::thread::yield_now(),
                opened => return opened,
            }
        }
        openat2(&self.0, path, how)
    }
}

fn split(path: &Path) -> io::Result<(&Path, &std::ffi::OsStr)> {
    let parts = path.parent().zip(path.file_name());
    parts.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "names no file in the tree"))
}

fn explain(error: Errno) -> io::Error {
    match error {
        Errno::EXDEV => io::Error::other("a symbolic link on its path leads out of the tree"),
        Errno::ENOSYS => io::Error::other("the kernel has no openat2: Linux 5.6 is required"),
        error => error.into(),
    }
}
