//! The folder of boot images in the EFI system partition (ESP).

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

/// The unit of atomic writes.
pub const SECTOR: usize = 512;

/// An open file of the boot partition.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// The first sector of a file.
pub fn head(esp: &(impl Esp + ?Sized), name: &str) -> io::Result<[u8; SECTOR]> {
    let mut head = [0; SECTOR];
    esp.open(name)?.read_exact(&mut head)?;
    Ok(head)
}

/// `EFI/Linux` in the boot partition. Each change is durable on return.
pub trait Esp {
    /// Names of all files, unordered.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Box<dyn ReadSeek + '_>>;
    /// Size in bytes; `None` if the file does not exist.
    fn size(&self, name: &str) -> io::Result<Option<u64>>;
    /// Free bytes.
    fn free(&self) -> io::Result<u64>;
    /// Removes a file; fails if it does not exist.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Overwrites the first sector of a file of at least that size.
    fn set_head(&mut self, name: &str, head: &[u8; SECTOR]) -> io::Result<()>;
    /// Replaces an existing file.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
}

/// The folder in the mounted boot partition.
#[derive(Debug)]
pub struct EspFolder(PathBuf);

impl EspFolder {
    /// `boot` is the mount point, or an automount.
    #[must_use]
    pub fn new(boot: &Path) -> Self {
        Self(boot.join("EFI/Linux"))
    }

    /// Where a file of the folder is, for messages and other readers.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// FAT has no journal: sync the folder, then the file system.
    fn sync(&self) -> io::Result<()> {
        let folder = File::open(&self.0)?;
        folder.sync_all()?;
        nix::unistd::syncfs(&folder).map_err(io::Error::from)
    }
}

impl Esp for EspFolder {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name().into_string()));
        // Ignore names that are not UTF-8.
        Ok(names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadSeek + '_>> {
        Ok(Box::new(File::open(self.path(name))?))
    }

    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        match self.path(name).metadata() {
            Ok(about) => Ok(Some(about.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn free(&self) -> io::Result<u64> {
        let about = statvfs(&self.0)?;
        Ok(about.blocks_available().saturating_mul(about.fragment_size()))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))?;
        self.sync()
    }

    fn set_head(&mut self, name: &str, head: &[u8; SECTOR]) -> io::Result<()> {
        let file = File::options().write(true).open(self.path(name))?;
        file.write_all_at(head, 0)?;
        file.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))?;
        self.sync()
    }
}
