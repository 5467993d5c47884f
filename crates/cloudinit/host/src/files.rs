//! Files: read with a cap, written as a whole or not at all, masked and unmasked.
//!
//! A file that is right already is left alone. There is no moment in which content can be read by more than
//! the final owner and mode allow.

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
use crate::root::{FileError, Place, Root};

const MODE_BITS: u32 = 0o7777;
const NULL_DEVICE: &str = "/dev/null";
/// Behind it stand the number of the process and a dash.
pub(crate) const TEMPORARY_PREFIX: &str = ".cloudinit-temp";
/// Who wait for the disk at the same time.
const SYNC_THREADS: usize = 8;
/// From so many files on, their file system is flushed instead of each of them: a thousand took 12 ms that way, and 83
/// to 129 ms one by one.
const WHOLE_FROM: usize = 16;
/// What a directory on the way to a file is made with.
pub const DIRECTORY_MODE: u32 = 0o755;

static TEMPORARY_NUMBER: AtomicU32 = AtomicU32::new(0);

/// Whose a file is to be. `None` is root (or whoever runs this, without root rights).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub path: &'a str,
    pub mode: u32,
    pub owner: Owner,
    pub content: &'a [u8],
    pub directory_mode: u32,
}

/// What became of an unmask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmasked {
    Removed,
    NotThere,
    /// Something with content stands there and stays.
    Refused,
}

/// The content of a file, `None` if it is not there.
///
/// # Errors
/// Not readable, or longer than `limit`.
pub fn read(root: &Root, path: &str, limit: usize) -> Result<Option<Vec<u8>>, FileError> {
    match root.resolve(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
        Ok(fd) => read_all(File::from(fd), path, limit).map(Some),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(error) => Err(FileError::system("open", path, error)),
    }
}

/// How a file is that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Existing {
    pub mode: u32,
    pub owner: Owner,
}

/// Links are followed. `None` if it is not there.
///
/// # Errors
/// It cannot be looked at.
pub fn existing(root: &Root, path: &str) -> Result<Option<Existing>, FileError> {
    let status = match root.resolve(path, OFlag::O_PATH) {
        Ok(fd) => fstat(&fd).map_err(|error| FileError::system("look at", path, error))?,
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
        Err(error) => return Err(FileError::system("look at", path, error)),
    };
    let owner = Owner { uid: Some(status.st_uid), gid: Some(status.st_gid) };
    Ok(Some(Existing { mode: status.st_mode & MODE_BITS, owner }))
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

/// Puts a file in place: a new file beside it, owner, mode, then a rename. A link at the path is replaced.
///
/// # Errors
/// What could not be done; then nothing is left behind.
pub fn write(root: &Root, request: &Request) -> Result<Outcome, FileError> {
    stage(root, request)?.map_or(Ok(Outcome::Unchanged), Staged::put)
}

/// A file that stands beside the one it is to replace. Dropped before it is in place, it leaves nothing behind.
#[derive(Debug)]
pub struct Staged {
    place: Place,
    temporary: String,
    file: File,
    /// For messages.
    path: String,
    /// What came of bringing it to the disk, once that was tried.
    synced: Option<io::Result<()>>,
    is_in_place: bool,
}

/// The first half of [`write()`]: all but the wait for the disk and the rename. `None` if the file is as it should be.
///
/// # Errors
/// As [`write()`].
pub fn stage(root: &Root, request: &Request) -> Result<Option<Staged>, FileError> {
    let Some(place) = root.parent(request.path, Some(request.directory_mode))? else {
        return Err(FileError::NoName(request.path.to_owned()));
    };
    let owner = wanted_owner(request.owner);
    if is_as_wanted(&place, request, owner) {
        return Ok(None);
    }
    let temporary = temporary_name();
    match write_temporary(&place, &temporary, request, owner) {
        Ok(file) => {
            let path = request.path.to_owned();
            Ok(Some(Staged { place, temporary, file, path, synced: None, is_in_place: false }))
        }
        Err(error) => {
            remove_temporary(&place, &temporary);
            Err(FileError::system("write", request.path, error))
        }
    }
}

/// Brings them all to the disk. It is asked for many at once, since it writes its journal once for all that wait.
/// What fails is told by [`Staged::put`].
pub fn sync(staged: Vec<&mut Staged>) {
    let mut by_device = BTreeMap::<_, Vec<_>>::new();
    for file in staged {
        by_device.entry(fstat(&file.file).ok().map(|status| status.st_dev)).or_default().push(file);
    }
    let mut single = Vec::new();
    for (device, mut files) in by_device {
        // The first one was opened before anything was written: the file system owes it every failure since.
        let whole = device.is_some() && files.len() >= WHOLE_FROM && syncfs(&files[0].file).is_ok();
        match whole {
            true => files.iter_mut().for_each(|file| file.synced = Some(Ok(()))),
            // Which of them it was, each finds out for itself.
            false => single.append(&mut files),
        }
    }
    let share = single.len().div_ceil(SYNC_THREADS).max(1);
    std::thread::scope(|scope| {
        for part in single.chunks_mut(share) {
            let sync = || part.iter_mut().for_each(|file| file.synced = Some(file.file.sync_all()));
            // Without a thread each is brought there when it is put in place.
            drop(std::thread::Builder::new().spawn_scoped(scope, sync));
        }
    });
}

impl Staged {
    /// The other half of [`write()`]: never before the content is on the disk.
    ///
    /// # Errors
    /// As [`write()`].
    pub fn put(mut self) -> Result<Outcome, FileError> {
        let synced = self.synced.take().unwrap_or_else(|| self.file.sync_all());
        synced.map_err(|error| FileError::system("write", &self.path, error))?;
        let Place { directory, name } = &self.place;
        renameat(directory, self.temporary.as_str(), directory, name.as_str())
            .map_err(|error| FileError::system("replace", &self.path, error))?;
        self.is_in_place = true;
        Ok(Outcome::Changed)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_in_place {
            remove_temporary(&self.place, &self.temporary);
        }
    }
}

fn wanted_owner(owner: Owner) -> Owner {
    if geteuid().is_root() {
        Owner { uid: Some(owner.uid.unwrap_or(0)), gid: Some(owner.gid.unwrap_or(0)) }
    } else {
        owner
    }
}

fn is_as_wanted(place: &Place, request: &Request, owner: Owner) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let Ok(fd) = openat(&place.directory, place.name.as_str(), flags, Mode::empty()) else { return false };
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

/// The leading dot keeps daemons that read whole folders from taking it for one of theirs.
fn temporary_name() -> String {
    let number = TEMPORARY_NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{TEMPORARY_PREFIX}{}-{number}", std::process::id())
}

fn write_temporary(place: &Place, name: &str, request: &Request, owner: Owner) -> io::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    // Left over from a run that was killed with the same process number.
    match unlinkat(&place.directory, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let fd = openat(&place.directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let mut file = File::from(fd);
    file.write_all(request.content)?;
    if owner != Owner::default() {
        fchown(file.as_fd(), owner.uid.map(Uid::from_raw), owner.gid.map(Gid::from_raw))?;
    }
    // After the owner, since a change of owner takes the set-user-id bit away.
    fchmod(file.as_fd(), Mode::from_bits_truncate(request.mode))?;
    Ok(file)
}

/// The error that led here is the one to report.
fn remove_temporary(place: &Place, name: &str) {
    unlinkat(&place.directory, name, UnlinkatFlags::NoRemoveDir).unwrap_or(());
}

/// A directory with this mode and owner, where nothing is there yet. Its parents belong to root.
///
/// # Errors
/// What could not be done.
pub fn directory(root: &Root, path: &str, mode: u32, owner: Owner) -> Result<Outcome, FileError> {
    let failed = |error| FileError::system("make directory", path, error);
    let Some(place) = root.parent(path, Some(DIRECTORY_MODE))? else {
        return Err(FileError::NoName(path.to_owned()));
    };
    let (parent, name) = (&place.directory, place.name.as_str());
    match mkdirat(parent, name, Mode::from_bits_truncate(mode)) {
        Err(Errno::EEXIST) => return Ok(Outcome::Unchanged),
        made => made.map_err(failed)?,
    }
    if owner != Owner::default() {
        let (uid, gid) = (owner.uid.map(Uid::from_raw), owner.gid.map(Gid::from_raw));
        fchownat(parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
    }
    Ok(Outcome::Changed)
}

/// A link to `/dev/null` in place of whatever is there.
///
/// # Errors
/// What could not be done.
pub fn mask(root: &Root, path: &str) -> Result<Outcome, FileError> {
    link_as("mask", root, path, NULL_DEVICE)
}

/// A symbolic link in place of whatever is there.
///
/// # Errors
/// What could not be done.
pub fn link(root: &Root, path: &str, target: &str) -> Result<Outcome, FileError> {
    link_as("link", root, path, target)
}

fn link_as(what: &'static str, root: &Root, path: &str, target: &str) -> Result<Outcome, FileError> {
    let Some(place) = root.parent(path, Some(DIRECTORY_MODE))? else {
        return Err(FileError::NoName(path.to_owned()));
    };
    if links_to(&place, target) {
        return Ok(Outcome::Unchanged);
    }
    let temporary = temporary_name();
    symlinkat(target, &place.directory, temporary.as_str())
        .map_err(|error| FileError::system(what, path, error))?;
    if let Err(error) = renameat(&place.directory, temporary.as_str(), &place.directory, place.name.as_str())
    {
        remove_temporary(&place, &temporary);
        return Err(FileError::system(what, path, error));
    }
    Ok(Outcome::Changed)
}

fn links_to(place: &Place, target: &str) -> bool {
    readlinkat(&place.directory, place.name.as_str()).is_ok_and(|found| found == target)
}

/// Removes a mask: a link to `/dev/null`, a device or an empty file.
///
/// # Errors
/// What could not be done.
pub fn unmask(root: &Root, path: &str) -> Result<Unmasked, FileError> {
    let Some(place) = root.parent(path, None)? else { return Ok(Unmasked::NotThere) };
    let status = match fstatat(&place.directory, place.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(Unmasked::NotThere),
        status => status.map_err(|error| FileError::system("look at", path, error))?,
    };
    let kind = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT;
    let empty = is_regular(&status) && status.st_size == 0;
    if !(links_to(&place, NULL_DEVICE) || kind == SFlag::S_IFCHR || empty) {
        return Ok(Unmasked::Refused);
    }
    unlinkat(&place.directory, place.name.as_str(), UnlinkatFlags::NoRemoveDir)
        .map_err(|error| FileError::system("unmask", path, error))?;
    Ok(Unmasked::Removed)
}

/// Removes a file, if it is there. A link is removed, not followed.
///
/// # Errors
/// What could not be done.
pub fn remove(root: &Root, path: &str) -> Result<Outcome, FileError> {
    let Some(place) = root.parent(path, None)? else { return Ok(Outcome::Unchanged) };
    match unlinkat(&place.directory, place.name.as_str(), UnlinkatFlags::NoRemoveDir) {
        Ok(()) => Ok(Outcome::Changed),
        Err(Errno::ENOENT) => Ok(Outcome::Unchanged),
        Err(error) => Err(FileError::system("remove", path, error)),
    }
}

/// The names in a directory, sorted; none if it is not there.
///
/// # Errors
/// Not readable.
pub fn list(root: &Root, path: &str) -> Result<Vec<String>, FileError> {
    let Some(place) = root.parent(path, None)? else { return Ok(Vec::new()) };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut directory =
        match nix::dir::Dir::openat(&place.directory, place.name.as_str(), flags, Mode::empty()) {
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

/// Like [`read`], but never through a link at the path itself.
///
/// # Errors
/// Not readable, a link, or longer than `limit`.
pub fn read_plain(root: &Root, path: &str, limit: usize) -> Result<Option<Vec<u8>>, FileError> {
    let Some(place) = root.parent(path, None)? else { return Ok(None) };
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    match openat(&place.directory, place.name.as_str(), flags, Mode::empty()) {
        Ok(fd) => read_all(File::from(fd), path, limit).map(Some),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::ELOOP) => Err(FileError::NotFollowed(path.to_owned())),
        Err(error) => Err(FileError::system("open", path, error)),
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
