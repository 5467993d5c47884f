//! One layer: its entries in order, within the limits.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use beneath::TreeRoot;

use super::directories::{DeferredDirectory, Metadata};
use super::entry_error::EntryError;
use super::options::{UnpackLimits, UnpackOptions};
use super::path::{MAX_DEPTH, clean};
use super::place::Place;
use crate::meter::Allowance;

/// Of entries that remove what lower layers have.
const WHITEOUT: &[u8] = b".wh.";
/// Bytes of headers of one entry: long names and attributes, whose values the kernel limits to 64 KiB.
const MAX_HEADERS: u64 = 1 << 20;
/// Bytes of all names of an image, which are kept in memory while a layer is unpacked.
const MAX_NAMES: u64 = 256 << 20;
/// Added to a stream's limit for headers and padding.
const STREAM_MARGIN: u64 = 64 << 20;

/// What an image may still use.
#[derive(Debug)]
pub struct Budget {
    bytes: u64,
    entries: u64,
    names: u64,
}

impl Budget {
    pub fn new(limits: UnpackLimits) -> Self {
        Self { bytes: limits.bytes, entries: limits.entries, names: MAX_NAMES }
    }

    /// The length of an archive with the remaining files.
    pub fn stream_bytes(&self) -> u64 {
        self.bytes.saturating_add(self.bytes / 4).saturating_add(STREAM_MARGIN)
    }

    pub fn spend_bytes(&mut self, bytes: u64) -> Result<(), EntryError> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(EntryError::Bytes)?;
        Ok(())
    }

    fn spend_entries(&mut self, entries: u64) -> Result<(), EntryError> {
        self.entries = self.entries.checked_sub(entries).ok_or(EntryError::Entries)?;
        Ok(())
    }

    fn spend_name(&mut self, path: &Path) -> Result<(), EntryError> {
        self.names = self.names.checked_sub(path.as_os_str().len() as u64).ok_or(EntryError::Names)?;
        Ok(())
    }
}

/// Why a layer was not unpacked.
pub enum LayerError {
    Archive(io::Error),
    Entry(PathBuf, EntryError),
}

/// Writes one layer over the lower ones.
pub struct LayerWriter<'a> {
    pub(super) root: &'a TreeRoot,
    pub(super) options: UnpackOptions,
    pub(super) budget: &'a mut Budget,
    /// Names that this layer created, by the inode of their folder: whiteouts concern lower layers only.
    pub(super) created: HashSet<(u64, Box<[u8]>)>,
    pub(super) directories: Vec<DeferredDirectory>,
    /// The tree's path on the host.
    rootfs: &'a Path,
}

impl<'a> LayerWriter<'a> {
    pub fn new(rootfs: &'a Path, root: &'a TreeRoot, options: UnpackOptions, budget: &'a mut Budget) -> Self {
        Self { root, options, budget, created: HashSet::new(), directories: Vec::new(), rootfs }
    }

    /// Unpacks all entries, then sets modes and times of folders, which writing to them would change.
    pub fn unpack<R: Read>(
        &mut self,
        archive: &mut tar::Archive<R>,
        allowance: &Allowance,
    ) -> Result<(), LayerError> {
        let mut entries = archive.entries().map_err(LayerError::Archive)?;
        loop {
            allowance.limit_headers(MAX_HEADERS);
            let Some(entry) = entries.next() else { break };
            let mut entry = entry.map_err(LayerError::Archive)?;
            allowance.lift();
            let name = entry.path_bytes().into_owned();
            let located = |error| LayerError::Entry(PathBuf::from(OsStr::from_bytes(&name)), error);
            self.entry(&mut entry, &name).map_err(located)?;
            // tar's reader would skip the rest within the next entry's limit.
            io::copy(&mut entry, &mut io::sink()).map_err(LayerError::Archive)?;
        }
        allowance.lift();
        for directory in std::mem::take(&mut self.directories).iter().rev() {
            directory.apply(self.root).map_err(|error| LayerError::Entry(directory.path.clone(), error))?;
        }
        Ok(())
    }

    fn entry<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>, name: &[u8]) -> Result<(), EntryError> {
        let path = clean(name)?;
        self.budget.spend_entries(1)?;
        self.budget.spend_name(&path)?;
        if path.as_os_str().is_empty() {
            return self.root_directory(entry);
        }
        let place = self.place(&path)?;
        if let Some(hidden) = place.name.as_bytes().strip_prefix(WHITEOUT) {
            return self.whiteout(&place, hidden);
        }
        self.create(entry, &path, &place)
    }

    /// The archive's `./`.
    fn root_directory<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), EntryError> {
        if !entry.header().entry_type().is_dir() {
            return Err(EntryError::Root);
        }
        let metadata = Metadata::of(entry)?;
        let folder = self.root.open_folder(Path::new("")).map_err(EntryError::system("open"))?;
        let inode = folder.metadata().map_err(EntryError::system("inspect"))?.ino();
        self.directories.push(DeferredDirectory::new(PathBuf::new(), inode, metadata, self.options.owners));
        Ok(())
    }

    /// Opens the parent of `path`, and creates it if it is missing.
    pub(super) fn place<'p>(&mut self, path: &'p Path) -> Result<Place<'p>, EntryError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(EntryError::Root);
        };
        let folder = match self.root.open_folder(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.budget.spend_entries(parent.components().count() as u64)?;
                self.root.make_folder(parent)
            }
            opened => opened,
        };
        let folder = folder.map_err(EntryError::system("open or create the folder of"))?;
        self.check_place(&folder)?;
        let inode = folder.metadata().map_err(EntryError::system("inspect the folder of"))?.ino();
        Ok(Place { folder, inode, name })
    }

    /// The kernel resolved the path below the root; this limits its depth after links, and checks the result.
    fn check_place(&self, folder: &File) -> Result<(), EntryError> {
        let link = format!("/proc/self/fd/{}", folder.as_raw_fd());
        let path = std::fs::read_link(link).map_err(EntryError::system("locate the folder of"))?;
        let below = path.strip_prefix(self.rootfs).map_err(|_| EntryError::Outside)?;
        if below.components().count() > MAX_DEPTH { Err(EntryError::Depth) } else { Ok(()) }
    }

    pub(super) fn mark_created(&mut self, place: &Place<'_>) {
        self.created.insert((place.inode, place.name.as_bytes().into()));
    }
}
