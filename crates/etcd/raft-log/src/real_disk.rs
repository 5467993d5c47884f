//! A directory of the local file system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use crate::disk::{Disk, DiskFile, DiskLock};

const LOCK: &str = "LOCK";
/// Only the member's user may read its data.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// The size of a write of zeros.
const FILL_BYTES: usize = 1 << 20;

/// How the space of a new file is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preallocation {
    /// Blocks stay marked as unwritten, so each first write to one changes metadata.
    Allocate,
    /// Zeros are written, so that later writes change data only and `fdatasync` needs no journal commit.
    Fill,
}

/// A directory of the file system, on local storage.
pub struct RealDisk {
    path: PathBuf,
    /// Kept open to sync the directory.
    folder: File,
    preallocation: Preallocation,
}

impl RealDisk {
    /// Creates the directory with mode 0700 if it does not exist; its parent must exist.
    pub fn at(path: &Path) -> io::Result<Self> {
        match fs::DirBuilder::new().mode(FOLDER_MODE).create(path) {
            Ok(()) => sync_parent(path)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(Self { path: path.to_owned(), folder: File::open(path)?, preallocation: Preallocation::Fill })
    }

    /// Instead of [`Preallocation::Fill`].
    pub fn with_preallocation(self, preallocation: Preallocation) -> Self {
        Self { preallocation, ..self }
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE_MODE);
    options
}

impl Disk for RealDisk {
    fn lock(&self) -> io::Result<DiskLock> {
        let file = options().create(true).truncate(false).open(self.path.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != LOCK {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = options().create_new(true).open(self.path.join(name))?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size)?;
        if self.preallocation == Preallocation::Fill {
            let zeros = vec![0; FILL_BYTES];
            let mut offset = 0;
            while offset < size {
                let length = usize::try_from(size - offset).map_or(FILL_BYTES, |left| left.min(FILL_BYTES));
                file.write_all_at(&zeros[..length], offset)?;
                offset += length as u64;
            }
        }
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(options().open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_all()
    }

    fn display_path(&self) -> String {
        self.path.display().to_string()
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
}
