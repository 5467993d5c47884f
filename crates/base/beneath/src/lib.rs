//! Creates files beneath a tree. What a tree contains may come from a package or an image, so no symbolic link in it
//! is trusted: none leads out of the tree, also as part of a path.

#![warn(missing_docs)]

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{linkat, symlinkat};

/// Attempts of a lookup that concurrent renames prevent from resolving `..`.
const MAX_ATTEMPTS: u32 = 10_000;
/// Links to missing folders that one path may lead through: the kernel's limit.
const MAX_LINKS: u32 = 40;
const READABLE: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
const NEW: OFlag = OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// An open tree. All paths are relative to it; modes are subject to the umask.
#[derive(Debug)]
pub struct TreeRoot {
    directory: OwnedFd,
    links: ResolveFlag,
    /// Of created folders, regardless of the umask.
    folder_mode: Option<Mode>,
}

impl TreeRoot {
    /// Opens a tree in which a symbolic link that leads out of it is an error.
    ///
    /// # Errors
    /// `tree` cannot be opened.
    pub fn open(tree: &Path) -> io::Result<Self> {
        Ok(Self {
            directory: File::open(tree)?.into(),
            links: ResolveFlag::RESOLVE_BENEATH,
            folder_mode: None,
        })
    }

    /// Opens a tree that is the root of its own links, as for a program in a container: `/run` is the tree's `run`, and
    /// the root is its own parent. Created folders have mode 0755.
    ///
    /// # Errors
    /// `tree` cannot be opened.
    pub fn open_as_root(tree: &Path) -> io::Result<Self> {
        let folder_mode = Some(Mode::from_bits_truncate(0o755));
        Ok(Self { directory: File::open(tree)?.into(), links: ResolveFlag::RESOLVE_IN_ROOT, folder_mode })
    }

    /// Opens a folder; creates it and its parents if they are missing.
    ///
    /// # Errors
    /// A part of the path is no folder, leads out of the tree or cannot be created.
    pub fn make_folder(&self, path: &Path) -> io::Result<File> {
        self.make_folder_through(path, MAX_LINKS)
    }

    fn make_folder_through(&self, path: &Path, links: u32) -> io::Result<File> {
        let (parent, name) = match self.open_existing(path) {
            Err(Errno::ENOENT) => split(path)?,
            opened => return opened.map(File::from).map_err(explain),
        };
        let parent_folder = self.make_folder_through(parent, links)?;
        match mkdirat(&parent_folder, name, Mode::from_bits_truncate(0o777)) {
            Ok(()) if self.folder_mode.is_some() => {
                let folder = self.open_existing(path).map_err(explain)?;
                self.folder_mode.map_or(Ok(()), |mode| fchmod(&folder, mode))?;
                Ok(folder.into())
            }
            // Created by another thread, or a link to nothing.
            Ok(()) | Err(Errno::EEXIST) => match self.open_existing(path) {
                Err(Errno::ENOENT) if self.links == ResolveFlag::RESOLVE_IN_ROOT && links > 0 => {
                    let target = readlinkat(&parent_folder, name)?;
                    let target = parent.join(Path::new(&target));
                    self.make_folder_through(target.strip_prefix("/").unwrap_or(&target), links - 1)
                }
                opened => opened.map(File::from).map_err(explain),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a file that must not exist, and its folder if that is missing.
    ///
    /// # Errors
    /// The path exists, leads out of the tree, or cannot be created.
    pub fn create_new_file(&self, path: &Path) -> io::Result<File> {
        self.open_file(path, NEW | OFlag::O_EXCL)
    }

    /// Creates an empty file, or truncates the existing one.
    ///
    /// # Errors
    /// The path leads out of the tree, or cannot be created.
    pub fn create_file(&self, path: &Path) -> io::Result<File> {
        self.open_file(path, NEW | OFlag::O_TRUNC)
    }

    fn open_file(&self, path: &Path, flags: OFlag) -> io::Result<File> {
        let (parent, name) = split(path)?;
        let file = openat(self.make_folder(parent)?, name, flags, Mode::from_bits_truncate(0o666));
        Ok(file?.into())
    }

    /// `target` is not resolved.
    ///
    /// # Errors
    /// The path exists, leads out of the tree, or cannot be created.
    pub fn create_link(&self, target: &Path, path: &Path) -> io::Result<()> {
        let (parent, name) = split(path)?;
        Ok(symlinkat(target, self.make_folder(parent)?, name)?)
    }

    /// If `original` is a symbolic link, the link itself gets another name.
    ///
    /// # Errors
    /// `original` is missing, `path` exists, or one of them leads out of the tree.
    pub fn create_hard_link(&self, original: &Path, path: &Path) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let (original_parent, original_name) = split(original)?;
        let original_parent = self.open_folder(original_parent)?;
        Ok(linkat(original_parent, original_name, self.make_folder(parent)?, name, AtFlags::empty())?)
    }

    /// Opens a folder that must exist.
    ///
    /// # Errors
    /// It does not exist, is no folder, or leads out of the tree.
    pub fn open_folder(&self, path: &Path) -> io::Result<File> {
        self.open_existing(path).map(File::from).map_err(explain)
    }

    fn open_existing(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        open_with_retries(self.directory.as_fd(), path, OpenHow::new().flags(READABLE).resolve(self.links))
    }
}

fn open_with_retries(directory: BorrowedFd<'_>, path: &Path, how: OpenHow) -> Result<OwnedFd, Errno> {
    for _ in 1..MAX_ATTEMPTS {
        match openat2(directory, path, how) {
            Err(Errno::EAGAIN) => std::thread::yield_now(),
            opened => return opened,
        }
    }
    openat2(directory, path, how)
}

fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree with a link; the path of a file to create, and its place below the tree, or an excerpt of the error.
    #[test]
    fn links_are_resolved_within_the_tree() {
        let check = |as_root: bool, link: &str, path: &str, expected: Result<&str, &str>| {
            let folder = tempfile::tempdir().unwrap();
            let tree = folder.path().join("a/tree");
            fs::create_dir_all(tree.join("var")).unwrap();
            fs::create_dir_all(folder.path().join("outside")).unwrap();
            symlink(link, tree.join("var/link")).unwrap();
            let open = if as_root { TreeRoot::open_as_root } else { TreeRoot::open };
            let created = open(&tree).unwrap().create_new_file(Path::new(path));
            match (created, expected) {
                (Ok(_), Ok(place)) => assert!(tree.join(place).is_file(), "{link} {path}"),
                (Err(error), Err(text)) => {
                    assert!(error.to_string().contains(text), "{link} {path}: {error}")
                }
                (other, _) => panic!("{link} {path}: {other:?}, expected {expected:?}"),
            }
            assert_eq!(fs::read_dir(folder.path().join("outside")).unwrap().count(), 0, "{link} {path}");
        };
        check(true, "/run", "var/link/x", Ok("run/x"));
        check(true, "../../../outside", "var/link/x", Ok("outside/x"));
        check(true, "../run/deep", "var/link/x", Ok("run/deep/x"));
        check(true, "link", "var/link/x", Err("Too many levels"));
        check(true, "/var/link/again", "var/link/x", Err("Too many levels"));
        check(false, "/run", "var/link/x", Err("leads out of the tree"));
        check(false, "../../../outside", "var/link/x", Err("leads out of the tree"));
        check(false, "../run", "var/link/x", Err("No such file"));
        check(false, "/run", "var/link", Err("File exists"));
        check(true, "/run", "var/link", Err("File exists"));
    }
}
