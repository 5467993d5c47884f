//! Files: size-capped reads, atomic writes, masks.
//!
//! Files that are up to date are not rewritten. At no time is content readable beyond the final owner and mode.
//!
//! Long because it is a list: one function per operation on files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, geteuid, symlinkat, syncfs, unlinkat};

use crate::Outcome;
use crate::root::{FileError, Location, Root};

const MODE_BITS: u32 = 0o7777;
const NULL_DEVICE: &str = "/dev/null";
/// Followed by the PID and a dash.
pub(crate) const TEMPORARY_PREFIX: &str = ".cloudinit-temp";
/// Concurrent fsyncs.
const MAX_SYNC_THREADS: usize = 8;
/// From this number of files on, one syncfs replaces the fsyncs: a thousand files take 12 ms instead of 83 to
/// 129 ms.
const SYNCFS_THRESHOLD: usize = 16;
/// The mode of created parent directories.
pub const DIRECTORY_MODE: u32 = 0o755;

static TEMPORARY_NUMBER: AtomicU32 = AtomicU32::new(0);

/// The owner of a file. `None` is root, or the current user without root privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// User id.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
}

/// A file to write.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Absolute, below the root.
    pub path: &'a str,
    /// Permission bits, whatever the umask.
    pub mode: u32,
    /// Of the file; created parent directories belong to the current user.
    pub owner: Owner,
    /// The complete content.
    pub content: &'a [u8],
    /// Permission bits of created parent directories.
    pub directory_mode: u32,
}

/// The result of an unmask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmasked {
    /// The link or empty file was removed.
    Removed,
    /// The unit was not masked.
    NotFound,
    /// The file has content and is kept.
    Refused,
}

/// Reads a file; `None` if it does not exist.
///
/// # Errors
/// It is not readable, or longer than `limit`.
pub fn read(root: &Root, path: &str, limit: usize) -> Result<Option<Vec<u8>>, FileError> {
    match root.resolve(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
        Ok(fd) => read_all(File::from(fd), path, limit).map(Some),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(error) => Err(FileError::system("open", path, error)),
    }
}

/// Mode and owner of an existing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStatus {
    /// Permission bits.
    pub mode: u32,
    /// Both ids are set.
    pub owner: Owner,
}

/// Follows links. `None` if the file does not exist.
///
/// # Errors
/// Its status cannot be read.
pub fn status(root: &Root, path: &str) -> Result<Option<FileStatus>, FileError> {
    let status = match root.resolve(path, OFlag::O_PATH) {
        Ok(fd) => fstat(&fd).map_err(|error| FileError::system("look at", path, error))?,
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
        Err(error) => return Err(FileError::system("look at", path, error)),
    };
    let owner = Owner { uid: Some(status.st_uid), gid: Some(status.st_gid) };
    Ok(Some(FileStatus { mode: status.st_mode & MODE_BITS, owner }))
}

fn read_all(file: File, path: &str, limit: usize) -> Result<Vec<u8>, FileError> {
    let mut content = Vec::new();
    let read = file
        .take(limit as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|error| FileError::system("read", path, error))?;
    if read > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(content)
}

/// Writes a file atomically: a temporary file, owner, mode, fsync, rename. A link at the path is replaced.
///
/// # Errors
/// A step failed; no temporary file remains.
pub fn write(root: &Root, request: &Request) -> Result<Outcome, FileError> {
    stage(root, request)?.map_or(Ok(Outcome::Unchanged), Staged::commit)
}

/// A temporary file, ready to replace the target. Removed on drop unless committed.
#[derive(Debug)]
pub struct Staged {
    location: Location,
    temporary: String,
    file: File,
    /// For messages.
    path: String,
    /// The result of the fsync, once attempted.
    synced: Option<io::Result<()>>,
    is_committed: bool,
}

/// The first half of [`write()`], without fsync and rename. `None` if the file is up to date.
///
/// # Errors
/// As [`write()`].
pub fn stage(root: &Root, request: &Request) -> Result<Option<Staged>, FileError> {
    let Some(location) = root.parent(request.path, Some(request.directory_mode))? else {
        return Err(FileError::NoName(request.path.to_owned()));
    };
    let owner = effective_owner(request.owner);
    if is_up_to_date(&location, request, owner) {
        return Ok(None);
    }
    let temporary = temporary_name();
    match write_temporary(&location, &temporary, request, owner) {
        Ok(file) => {
            let path = request.path.to_owned();
            Ok(Some(Staged { location, temporary, file, path, synced: None, is_committed: false }))
        }
        Err(error) => {
            remove_temporary(&location, &temporary);
            Err(FileError::system("write", request.path, error))
        }
    }
}

/// Syncs many files concurrently, as the file system commits its journal once for all that wait.
/// [`Staged::commit`] reports failures.
pub fn sync(staged: Vec<&mut Staged>) {
    let mut by_device = BTreeMap::<_, Vec<_>>::new();
    for file in staged {
        by_device.entry(fstat(&file.file).ok().map(|status| status.st_dev)).or_default().push(file);
    }
    let mut single = Vec::new();
    for (device, mut files) in by_device {
        // syncfs reports all write errors since this descriptor was opened, which was before the first write.
        let synced_together =
            device.is_some() && files.len() >= SYNCFS_THRESHOLD && syncfs(&files[0].file).is_ok();
        match synced_together {
            true => files.iter_mut().for_each(|file| file.synced = Some(Ok(()))),
            // The single fsyncs find out which of them failed.
            false => single.append(&mut files),
        }
    }
    let chunk_size = single.len().div_ceil(MAX_SYNC_THREADS).max(1);
    std::thread::scope(|scope| {
        for chunk in single.chunks_mut(chunk_size) {
            let sync = || chunk.iter_mut().for_each(|file| file.synced = Some(file.file.sync_all()));
            // If the thread cannot start, the files are synced on commit.
            drop(std::thread::Builder::new().spawn_scoped(scope, sync));
        }
    });
}

impl Staged {
    /// The second half of [`write()`]: renames once the content is synced.
    ///
    /// # Errors
    /// As [`write()`].
    pub fn commit(mut self) -> Result<Outcome, FileError> {
        let synced = self.synced.take().unwrap_or_else(|| self.file.sync_all());
        synced.map_err(|error| FileError::system("write", &self.path, error))?;
        let Location { directory, name } = &self.location;
        renameat(directory, self.temporary.as_str(), directory, name.as_str())
            .map_err(|error| FileError::system("replace", &self.path, error))?;
        self.is_committed = true;
        Ok(Outcome::Changed)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_committed {
            remove_temporary(&self.location, &self.temporary);
        }
    }
}

fn effective_owner(owner: Owner) -> Owner {
    if geteuid().is_root() {
        Owner { uid: Some(owner.uid.unwrap_or(0)), gid: Some(owner.gid.unwrap_or(0)) }
    } else {
        owner
    }
}

fn is_up_to_date(location: &Location, request: &Request, owner: Owner) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let Ok(fd) = openat(&location.directory, location.name.as_str(), flags, Mode::empty()) else {
        return false;
    };
    let Ok(status) = fstat(&fd) else { return false };
    is_regular(&status)
        && status.st_mode & MODE_BITS == request.mode
        && owner.uid.is_none_or(|uid| uid == status.st_uid)
        && owner.gid.is_none_or(|gid| gid == status.st_gid)
        && status.st_size as u64 == request.content.len() as u64
        && read_all(File::from(fd), request.path, request.content.len())
            .is_ok_and(|content| content == request.content)
}

fn is_regular(status: &FileStat) -> bool {
    SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

/// The leading dot hides it from daemons that read whole folders.
fn temporary_name() -> String {
    let number = TEMPORARY_NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{TEMPORARY_PREFIX}{}-{number}", std::process::id())
}

fn write_temporary(location: &Location, name: &str, request: &Request, owner: Owner) -> io::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    // A leftover of a killed run with the same PID.
    match unlinkat(&location.directory, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let fd = openat(&location.directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let mut file = File::from(fd);
    file.write_all(request.content)?;
    if owner != Owner::default() {
        fchown(file.as_fd(), owner.uid.map(Uid::from_raw), owner.gid.map(Gid::from_raw))?;
    }
    // After fchown, which clears the set-user-ID bit.
    fchmod(file.as_fd(), Mode::from_bits_truncate(request.mode))?;
    Ok(file)
}

/// Errors are ignored: the caller reports the original one.
fn remove_temporary(location: &Location, name: &str) {
    unlinkat(&location.directory, name, UnlinkatFlags::NoRemoveDir).unwrap_or(());
}

/// Creates a directory with this mode and owner, unless it exists. Missing parents belong to root.
///
/// # Errors
/// A directory cannot be created.
pub fn directory(root: &Root, path: &str, mode: u32, owner: Owner) -> Result<Outcome, FileError> {
    let failed = |error| FileError::system("make directory", path, error);
    let Some(location) = root.parent(path, Some(DIRECTORY_MODE))? else {
        return Err(FileError::NoName(path.to_owned()));
    };
    let (parent, name) = (&location.directory, location.name.as_str());
    match mkdirat(parent, name, Mode::from_bits_truncate(mode)) {
        Err(Errno::EEXIST) => return Ok(Outcome::Unchanged),
        created => created.map_err(failed)?,
    }
    if owner != Owner::default() {
        let (uid, gid) = (owner.uid.map(Uid::from_raw), owner.gid.map(Gid::from_raw));
        fchownat(parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
    }
    Ok(Outcome::Changed)
}

/// Replaces the path with a link to `/dev/null`.
///
/// # Errors
/// The link cannot be created.
pub fn mask(root: &Root, path: &str) -> Result<Outcome, FileError> {
    replace_with_link("mask", root, path, NULL_DEVICE)
}

/// Replaces the path with a symbolic link.
///
/// # Errors
/// The link cannot be created.
pub fn link(root: &Root, path: &str, target: &str) -> Result<Outcome, FileError> {
    replace_with_link("link", root, path, target)
}

fn replace_with_link(
    action: &'static str,
    root: &Root,
    path: &str,
    target: &str,
) -> Result<Outcome, FileError> {
    let Some(location) = root.parent(path, Some(DIRECTORY_MODE))? else {
        return Err(FileError::NoName(path.to_owned()));
    };
    if links_to(&location, target) {
        return Ok(Outcome::Unchanged);
    }
    let temporary = temporary_name();
    symlinkat(target, &location.directory, temporary.as_str())
        .map_err(|error| FileError::system(action, path, error))?;
    if let Err(error) =
        renameat(&location.directory, temporary.as_str(), &location.directory, location.name.as_str())
    {
        remove_temporary(&location, &temporary);
        return Err(FileError::system(action, path, error));
    }
    Ok(Outcome::Changed)
}

fn links_to(location: &Location, target: &str) -> bool {
    readlinkat(&location.directory, location.name.as_str()).is_ok_and(|found| found == target)
}

/// Removes a mask: a link to `/dev/null`, a device or an empty file.
///
/// # Errors
/// The file cannot be removed.
pub fn unmask(root: &Root, path: &str) -> Result<Unmasked, FileError> {
    let Some(location) = root.parent(path, None)? else { return Ok(Unmasked::NotFound) };
    let status = match fstatat(&location.directory, location.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(Unmasked::NotFound),
        status => status.map_err(|error| FileError::system("look at", path, error))?,
    };
    let kind = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT;
    let empty = is_regular(&status) && status.st_size == 0;
    if !(links_to(&location, NULL_DEVICE) || kind == SFlag::S_IFCHR || empty) {
        return Ok(Unmasked::Refused);
    }
    unlinkat(&location.directory, location.name.as_str(), UnlinkatFlags::NoRemoveDir)
        .map_err(|error| FileError::system("unmask", path, error))?;
    Ok(Unmasked::Removed)
}

/// Removes a file if it exists. Links are not followed.
///
/// # Errors
/// The file cannot be removed.
pub fn remove(root: &Root, path: &str) -> Result<Outcome, FileError> {
    let Some(location) = root.parent(path, None)? else { return Ok(Outcome::Unchanged) };
    match unlinkat(&location.directory, location.name.as_str(), UnlinkatFlags::NoRemoveDir) {
        Ok(()) => Ok(Outcome::Changed),
        Err(Errno::ENOENT) => Ok(Outcome::Unchanged),
        Err(error) => Err(FileError::system("remove", path, error)),
    }
}

/// The names in a directory, sorted; empty if it does not exist.
///
/// # Errors
/// The directory is not readable.
pub fn list(root: &Root, path: &str) -> Result<Vec<String>, FileError> {
    let Some(location) = root.parent(path, None)? else { return Ok(Vec::new()) };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut directory =
        match nix::dir::Dir::openat(&location.directory, location.name.as_str(), flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(Vec::new()),
            directory => directory.map_err(|error| FileError::system("list", path, error))?,
        };
    let mut names = Vec::new();
    for entry in directory.iter() {
        let entry = entry.map_err(|error| FileError::system("list", path, error))?;
        if let Ok(name) = entry.file_name().to_str()
            && name != "."
            && name != ".."
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Like [`read`], but fails if the path itself is a link.
///
/// # Errors
/// The file is not readable, a link, or longer than `limit`.
pub fn read_no_follow(root: &Root, path: &str, limit: usize) -> Result<Option<Vec<u8>>, FileError> {
    let Some(location) = root.parent(path, None)? else { return Ok(None) };
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    match openat(&location.directory, location.name.as_str(), flags, Mode::empty()) {
        Ok(fd) => read_all(File::from(fd), path, limit).map(Some),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::ELOOP) => Err(FileError::NotFollowed(path.to_owned())),
        Err(error) => Err(FileError::system("open", path, error)),
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
