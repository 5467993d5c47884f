//! Owners, modes, attributes and times. Those of folders are set when a layer is complete.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use beneath::TreeRoot;
use nix::errno::Errno;
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmod, fchmodat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};

use super::entry_error::EntryError;
use super::options::Owners;
use super::place::Place;

const PAX_XATTR: &str = "SCHILY.xattr.";
const CAPABILITY: &str = "security.capability";
/// Of files with holes, as GNU tar writes them in this format. tar's reader would return the map with the content.
const PAX_SPARSE: &str = "GNU.sparse.";
const USER_XATTR: &str = "user.";
const MODE_BITS: u32 = 0o7777;
/// The caller can always write to its folders, and remove them.
const CALLERS_FOLDER: u32 = 0o700;

/// What an entry's headers have besides its content.
#[derive(Debug)]
pub struct Metadata {
    pub mode: u32,
    uid: u32,
    gid: u32,
    mtime: i64,
    /// Others are left out: they belong to the host that created the image (labels, ACLs, overlayfs).
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Metadata {
    pub fn of<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Self, EntryError> {
        let header = entry.header();
        let number = |value: io::Result<u64>, what| {
            value.ok().and_then(|value| u32::try_from(value).ok()).ok_or(EntryError::Number(what))
        };
        let mode = header.mode().map_err(|_| EntryError::Number("the mode"))? & MODE_BITS;
        let (uid, gid) = (number(header.uid(), "the owner")?, number(header.gid(), "the group")?);
        // -1 would leave the owner unchanged.
        if uid == u32::MAX || gid == u32::MAX {
            return Err(EntryError::Number("the owner"));
        }
        let mtime = header.mtime().ok().and_then(|time| i64::try_from(time).ok());
        let mtime = mtime.ok_or(EntryError::Number("the time"))?;
        let mut xattrs = Vec::new();
        for extension in
            entry.pax_extensions().map_err(EntryError::system("read the headers of"))?.into_iter().flatten()
        {
            let extension = extension.map_err(EntryError::system("read the headers of"))?;
            if extension.key_bytes().starts_with(PAX_SPARSE.as_bytes()) {
                return Err(EntryError::Sparse);
            }
            let name = extension.key().ok().and_then(|key| key.strip_prefix(PAX_XATTR));
            if let Some(name) = name.filter(|name| *name == CAPABILITY || name.starts_with(USER_XATTR)) {
                xattrs.push((name.to_owned(), extension.value_bytes().to_owned()));
            }
        }
        Ok(Self { mode, uid, gid, mtime, xattrs })
    }

    /// The owner first, since changing it clears capabilities and set-user-id.
    pub fn apply_to_file(&self, file: &File, owners: Owners) -> Result<(), EntryError> {
        if owners == Owners::Image {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            fchown(file, Some(uid), Some(gid)).map_err(failed("change the owner of"))?;
        }
        self.set_xattrs(file, owners)?;
        fchmod(file, Mode::from_bits_truncate(self.mode)).map_err(failed("change the mode of"))?;
        futimens(file, &self.time(), &self.time()).map_err(failed("set the time of"))
    }

    /// For what cannot be opened. The name was just created, and nothing else writes to the tree.
    pub fn apply_to_name(
        &self,
        place: &Place<'_>,
        owners: Owners,
        mode: Option<u32>,
    ) -> Result<(), EntryError> {
        let (folder, name) = (place.folder.as_fd(), place.name);
        if owners == Owners::Image {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            fchownat(folder, name, Some(uid), Some(gid), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(failed("change the owner of"))?;
        }
        if let Some(mode) = mode {
            // A link has no mode.
            fchmodat(folder, name, Mode::from_bits_truncate(mode), FchmodatFlags::FollowSymlink)
                .map_err(failed("change the mode of"))?;
        }
        utimensat(folder, name, &self.time(), &self.time(), UtimensatFlags::NoFollowSymlink)
            .map_err(failed("set the time of"))
    }

    fn time(&self) -> TimeSpec {
        TimeSpec::new(self.mtime, 0)
    }

    fn set_xattrs(&self, file: &File, owners: Owners) -> Result<(), EntryError> {
        for (name, value) in &self.xattrs {
            let is_capability = name == CAPABILITY;
            if is_capability && owners == Owners::Caller {
                continue;
            }
            match rustix::fs::fsetxattr(file, name.as_str(), value, rustix::fs::XattrFlags::empty()) {
                Ok(()) => {}
                // A program without its capabilities would fail later; other attributes are optional.
                Err(rustix::io::Errno::OPNOTSUPP) if !is_capability => {}
                Err(error) => return Err(EntryError::system("set an attribute of")(error.into())),
            }
        }
        Ok(())
    }
}

fn failed(what: &'static str) -> impl Fn(Errno) -> EntryError {
    move |error| EntryError::system(what)(error.into())
}

/// A folder whose mode and times are set when the layer is complete.
#[derive(Debug)]
pub struct DeferredDirectory {
    pub path: PathBuf,
    inode: u64,
    metadata: Metadata,
    owners: Owners,
}

impl DeferredDirectory {
    pub fn new(path: PathBuf, inode: u64, mut metadata: Metadata, owners: Owners) -> Self {
        if owners == Owners::Caller {
            metadata.mode |= CALLERS_FOLDER;
        }
        Self { path, inode, metadata, owners }
    }

    /// Does nothing if a later entry replaced the folder.
    pub fn apply(&self, root: &TreeRoot) -> Result<(), EntryError> {
        let folder = match self.open(root) {
            Ok(folder) => folder,
            Err(EntryError::System { source, .. }) if matches!(source.raw_os_error(), Some(code) if code == Errno::ENOENT as i32 || code == Errno::ENOTDIR as i32 || code == Errno::ELOOP as i32) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let inode = folder.metadata().map_err(EntryError::system("inspect"))?.ino();
        if inode == self.inode { self.metadata.apply_to_file(&folder, self.owners) } else { Ok(()) }
    }

    fn open(&self, root: &TreeRoot) -> Result<File, EntryError> {
        let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return root.open_folder(Path::new("")).map_err(EntryError::system("open"));
        };
        let folder = root.open_folder(parent).map_err(EntryError::system("open"))?;
        Place { folder, inode: 0, name }.open_directory()
    }
}
