//! One entry of a layer: a file, folder, link or device.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknodat};
use nix::unistd::{linkat, symlinkat};
use tar::EntryType;

use super::directories::{DeferredDirectory, Metadata};
use super::entry_error::EntryError;
use super::layer::LayerWriter;
use super::options::DeviceNodes;
use super::path::clean;
use super::place::{Place, is_directory};
use super::removal::remove;

const MAX_LINK_TARGET: usize = 4095;
/// Until the content is complete.
const NEW_FILE_MODE: u32 = 0o600;
const NEW_FOLDER_MODE: u32 = 0o700;

impl LayerWriter<'_> {
    /// Creates what an entry describes, in place of what a lower layer has there.
    pub(super) fn create<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        path: &Path,
        place: &Place<'_>,
    ) -> Result<(), EntryError> {
        let kind = entry.header().entry_type();
        // Old archives mark folders by the name only.
        let is_folder = kind.is_dir() || (kind.is_file() && entry.path_bytes().ends_with(b"/"));
        match kind {
            _ if is_folder => return self.directory(entry, path, place),
            EntryType::XGlobalHeader => return Ok(()),
            EntryType::Link => return self.hard_link(entry, place),
            EntryType::Char | EntryType::Block if self.options.devices == DeviceNodes::Refuse => {
                return Err(EntryError::Device);
            }
            EntryType::Char | EntryType::Block if self.options.devices == DeviceNodes::Skip => return Ok(()),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {}
            EntryType::Symlink | EntryType::Fifo | EntryType::Char | EntryType::Block => {}
            other => return Err(EntryError::Kind(char::from(other.as_byte()))),
        }
        let metadata = Metadata::of(entry)?;
        self.clear(place)?;
        self.mark_created(place);
        match kind {
            EntryType::Symlink => {
                let target = link_target(entry)?;
                symlinkat(OsStr::from_bytes(&target), &place.folder, place.name)
                    .map_err(|error| EntryError::system("create")(error.into()))?;
                metadata.apply_to_name(place, self.options.owners, None)
            }
            EntryType::Fifo | EntryType::Char | EntryType::Block => {
                node(entry, kind, place)?;
                metadata.apply_to_name(place, self.options.owners, Some(metadata.mode))
            }
            _ => {
                let file = self.file(entry, place)?;
                metadata.apply_to_file(&file, self.options.owners)
            }
        }
    }

    fn file<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        place: &Place<'_>,
    ) -> Result<File, EntryError> {
        let expected = entry.size();
        self.budget.spend_bytes(expected)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = openat(&place.folder, place.name, flags, Mode::from_bits_truncate(NEW_FILE_MODE));
        let mut file = opened.map(File::from).map_err(|error| EntryError::system("create")(error.into()))?;
        let found = io::copy(&mut entry.take(expected), &mut file).map_err(EntryError::system("write"))?;
        if found == expected { Ok(file) } else { Err(EntryError::Truncated { found, expected }) }
    }

    fn directory<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        path: &Path,
        place: &Place<'_>,
    ) -> Result<(), EntryError> {
        let metadata = Metadata::of(entry)?;
        let exists = place.status()?.is_some_and(|status| is_directory(&status));
        if !exists {
            self.clear(place)?;
            mkdirat(&place.folder, place.name, Mode::from_bits_truncate(NEW_FOLDER_MODE))
                .map_err(|error| EntryError::system("create")(error.into()))?;
        }
        self.mark_created(place);
        let inode = place.status()?.map_or(0, |status| status.st_ino);
        self.directories.push(DeferredDirectory::new(path.to_owned(), inode, metadata, self.options.owners));
        Ok(())
    }

    /// The target is a path of the image, whose last part is not followed.
    fn hard_link<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        place: &Place<'_>,
    ) -> Result<(), EntryError> {
        let target = link_target(entry)?;
        let target = clean(&target)?;
        let missing = || EntryError::HardLink(target.clone());
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else { return Err(missing()) };
        let folder = self.root.open_folder(parent).map_err(|_| missing())?;
        let original = Place { folder, inode: 0, name };
        let status = original.status()?.filter(|status| !is_directory(status)).ok_or_else(missing)?;
        if let Some(present) = place.status()?
            && (present.st_dev, present.st_ino) == (status.st_dev, status.st_ino)
        {
            return Ok(());
        }
        self.clear(place)?;
        self.mark_created(place);
        linkat(&original.folder, name, &place.folder, place.name, AtFlags::empty()).map_err(|error| {
            match error {
                Errno::ENOENT => missing(),
                error => EntryError::system("link")(error.into()),
            }
        })
    }

    /// Removes what has the name.
    fn clear(&mut self, place: &Place<'_>) -> Result<(), EntryError> {
        match place.status()? {
            Some(status) => remove(&place.folder, place.name, is_directory(&status)),
            None => Ok(()),
        }
    }
}

fn link_target<R: Read>(entry: &tar::Entry<'_, R>) -> Result<Vec<u8>, EntryError> {
    let target = entry.link_name_bytes().ok_or(EntryError::Target)?;
    if target.is_empty() || target.len() > MAX_LINK_TARGET || target.contains(&0) {
        return Err(EntryError::Target);
    }
    Ok(target.into_owned())
}

fn node<R: Read>(entry: &tar::Entry<'_, R>, kind: EntryType, place: &Place<'_>) -> Result<(), EntryError> {
    let number = |read: io::Result<Option<u32>>| read.ok().flatten().ok_or(EntryError::Number("the device"));
    let (kind, device) = match kind {
        EntryType::Fifo => (SFlag::S_IFIFO, 0),
        kind => {
            let (major, minor) = (entry.header().device_major(), entry.header().device_minor());
            let device = makedev(number(major)?.into(), number(minor)?.into());
            (if kind == EntryType::Char { SFlag::S_IFCHR } else { SFlag::S_IFBLK }, device)
        }
    };
    mknodat(&place.folder, place.name, kind, Mode::from_bits_truncate(NEW_FILE_MODE), device)
        .map_err(|error| EntryError::system("create")(error.into()))
}
