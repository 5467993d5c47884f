//! The root folder below which all paths are resolved.
//!
//! Symbolic links are resolved inside the root, so that no path leads out of it. Below a directory that users
//! other than root can write to, no links are followed: its owner could point them anywhere.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, mkdirat};
use nix::unistd::{Gid, Uid, fchownat, getegid, geteuid};

/// Attempts and delay of a path lookup; some seconds in total.
const MAX_ATTEMPTS: u32 = 10_000;
const RETRY_DELAY: Duration = Duration::from_micros(200);
const WRITABLE_BY_OTHERS: u32 = 0o002;
const WRITABLE_BY_GROUP: u32 = 0o020;

/// Why a file was not read or changed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum FileError {
    #[error("{0} is not a directory")]
    NotADirectory(String),
    #[error("{0} is a symbolic link in a directory that users can write to")]
    Link(String),
    #[error("{0} is a symbolic link, and none is followed there")]
    NotFollowed(String),
    #[error("{0} is one of a loop of symbolic links")]
    LinkLoop(String),
    #[error("{path} is a symbolic link to {target}, which is not there")]
    Dangling { path: String, target: String },
    #[error("{0} names no file")]
    NoName(String),
    #[error("{path} has more than {limit} bytes")]
    TooLarge { path: String, limit: usize },
    #[error("cannot {what} {path}")]
    System { what: &'static str, path: String, source: io::Error },
}

impl FileError {
    pub(crate) fn system(what: &'static str, path: &str, source: impl Into<io::Error>) -> Self {
        Self::System { what, path: path.to_owned(), source: source.into() }
    }
}

/// An open root directory.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    path: PathBuf,
}

/// An open parent directory, and a file's name in it.
#[derive(Debug)]
pub(crate) struct Location {
    pub directory: OwnedFd,
    pub name: String,
}

impl Root {
    /// # Errors
    /// `path` is not a directory or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let display = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|error| FileError::system("open", &display, error))?;
        let metadata = file.metadata().map_err(|error| FileError::system("look at", &display, error))?;
        if !metadata.is_dir() {
            return Err(FileError::NotADirectory(display));
        }
        let is_machine = std::fs::metadata("/")
            .is_ok_and(|root| (root.dev(), root.ino()) == (metadata.dev(), metadata.ino()));
        let path = if is_machine { PathBuf::from("/") } else { path.to_path_buf() };
        Ok(Self { directory: file.into(), path })
    }

    /// Whether this is the running machine rather than a folder.
    pub fn is_machine(&self) -> bool {
        self.path == Path::new("/")
    }

    /// The absolute path for other programs and messages. Not for opening files, as it does not resist links.
    pub fn host_path(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }

    pub(crate) fn resolve(&self, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        let relative = path.trim_start_matches('/');
        let relative = if relative.is_empty() { "." } else { relative };
        let options = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        open_below(self.directory.as_fd(), relative, options)
    }

    /// Opens the parent directory of `path`. Missing directories are created with mode `create` (less the
    /// umask); without it they yield `None`.
    pub(crate) fn parent(&self, path: &str, create: Option<u32>) -> Result<Option<Location>, FileError> {
        let mut components: Vec<&str> =
            path.split('/').filter(|component| !component.is_empty() && *component != ".").collect();
        let Some(name) = components.pop().filter(|name| *name != "..") else {
            return Err(FileError::NoName(path.to_owned()));
        };
        let root = self.resolve("/", OFlag::O_PATH | OFlag::O_DIRECTORY);
        let mut walk = Walk {
            root: self,
            current: root.map_err(|error| FileError::system("open", "/", error))?,
            prefix: String::new(),
            trusted: true,
        };
        for component in components {
            if !walk.enter(component, create)? {
                return Ok(None);
            }
        }
        Ok(Some(Location { directory: walk.current, name: name.to_owned() }))
    }
}

/// openat2 fails with EAGAIN if a concurrent rename or mount anywhere on the machine prevents it from resolving
/// `..` safely, which is frequent during boot.
fn open_below(directory: BorrowedFd<'_>, path: &str, options: OpenHow) -> Result<OwnedFd, Errno> {
    for _ in 1..MAX_ATTEMPTS {
        match openat2(directory, path, options) {
            Err(Errno::EAGAIN) => std::thread::sleep(RETRY_DELAY),
            opened => return opened,
        }
    }
    openat2(directory, path, options)
}

/// A walk from the root to a directory, one component at a time.
struct Walk<'a> {
    root: &'a Root,
    current: OwnedFd,
    prefix: String,
    /// Only root could have created the path so far.
    trusted: bool,
}

impl Walk<'_> {
    fn enter(&mut self, component: &str, create: Option<u32>) -> Result<bool, FileError> {
        let parent = self.prefix.clone();
        self.prefix = format!("{parent}/{component}");
        let opened = match self.open(component) {
            Err(Errno::ENOENT) => match create {
                None => return Ok(false),
                Some(mode) => {
                    self.refuse_dangling(component)?;
                    self.create_directory(component, mode)?;
                    self.open_no_follow(component)
                }
            },
            opened => opened,
        };
        self.current = opened.map_err(|error| match error {
            Errno::ENOTDIR => FileError::NotADirectory(self.prefix.clone()),
            // Where links are followed, only a loop returns this.
            Errno::ELOOP if self.trusted => FileError::LinkLoop(self.prefix.clone()),
            Errno::ELOOP | Errno::EXDEV => FileError::Link(self.prefix.clone()),
            error => FileError::system("open", &self.prefix, error),
        })?;
        if self.trusted {
            let status = self.status()?;
            self.trusted = is_trusted(&status);
        }
        Ok(true)
    }

    fn open(&self, component: &str) -> Result<OwnedFd, Errno> {
        if self.trusted {
            self.root.resolve(&self.prefix, OFlag::O_PATH | OFlag::O_DIRECTORY)
        } else {
            self.open_no_follow(component)
        }
    }

    /// Follows no links.
    fn open_no_follow(&self, component: &str) -> Result<OwnedFd, Errno> {
        let options = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH);
        open_below(self.current.as_fd(), component, options)
    }

    fn status(&self) -> Result<FileStat, FileError> {
        fstat(&self.current).map_err(|error| FileError::system("look at", &self.prefix, error))
    }

    /// The target of a dangling link is not created, as its owner and mode are unspecified.
    fn refuse_dangling(&self, component: &str) -> Result<(), FileError> {
        match readlinkat(&self.current, component) {
            Ok(target) => {
                let target = target.to_string_lossy().into_owned();
                Err(FileError::Dangling { path: self.prefix.clone(), target })
            }
            Err(_) => Ok(()),
        }
    }

    /// A directory created in a user's directory belongs to that user.
    fn create_directory(&self, component: &str, mode: u32) -> Result<(), FileError> {
        let failed = |error| FileError::system("make directory", &self.prefix, error);
        let owner = self.status()?;
        mkdirat(&self.current, component, Mode::from_bits_truncate(mode)).map_err(failed)?;
        if !self.trusted && geteuid().is_root() {
            let (uid, gid) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
            fchownat(&self.current, component, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(failed)?;
        }
        Ok(())
    }
}

/// Whether only root (or the current user, in a test) can create names in it.
fn is_trusted(status: &FileStat) -> bool {
    let owner = status.st_uid == 0 || status.st_uid == geteuid().as_raw();
    let group = status.st_gid == 0 || status.st_gid == getegid().as_raw();
    owner && status.st_mode & WRITABLE_BY_OTHERS == 0 && (group || status.st_mode & WRITABLE_BY_GROUP == 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A link with `..`, during concurrent renames.
    #[test]
    fn concurrent_renames_do_not_hide_a_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root/a/b", "elsewhere/one", "elsewhere/other"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("root/file"), "x").unwrap();
        symlink("../../file", folder.path().join("root/a/b/link")).unwrap();
        let root = Root::open(&folder.path().join("root")).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (one, other) =
                    (folder.path().join("elsewhere/one/x"), folder.path().join("elsewhere/other/x"));
                fs::create_dir(&one).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    fs::rename(&one, &other).unwrap();
                    fs::rename(&other, &one).unwrap();
                }
            });
            let failed = (0..20_000).find_map(|_| root.resolve("/a/b/link", OFlag::O_RDONLY).err());
            stop.store(true, Ordering::Relaxed);
            assert_eq!(failed, None);
        });
    }
}
