//! Adds a file to the boot partition of an image, which is FAT, before the disk has a partition table.

use std::io::{self, Read, Seek, SeekFrom, Write};

use disk_slots::Disk;
use fatfs::{FileSystem, FsOptions};

/// Why a file cannot be added.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum BootPartitionError {
    #[error("the image has no partition EFI-SYSTEM for kernel arguments")]
    NoPartition,
    #[error("cannot read the boot partition's file system")]
    FileSystem(#[source] io::Error),
    #[error("cannot write {path} to the boot partition")]
    Write { path: String, source: io::Error },
    #[error("{0} on the boot partition has another content than was written")]
    Content(String),
}

/// Writes a file to the FAT file system in `bytes` of the disk from `offset`, and reads it back. Its folders are created. Not
/// durable before the disk is.
///
/// # Errors
/// There is no such file system, or it has no space.
pub fn write_boot_file(
    disk: &mut impl Disk,
    (offset, bytes): (u64, u64),
    path: &str,
    content: &[u8],
) -> Result<(), BootPartitionError> {
    let mut part = Part { disk, offset, bytes, at: 0 };
    let failed = |source| BootPartitionError::Write { path: path.to_owned(), source };
    let system = FileSystem::new(&mut part, options()).map_err(BootPartitionError::FileSystem)?;
    write(&system, path, content).map_err(failed)?;
    system.unmount().map_err(failed)?;
    // Opened anew: nothing of it is in the file system's memory.
    part.at = 0;
    let system = FileSystem::new(&mut part, options()).map_err(BootPartitionError::FileSystem)?;
    let mut found = Vec::new();
    let limit = content.len() as u64 + 1;
    let file = system.root_dir().open_file(path).map_err(failed)?;
    file.take(limit).read_to_end(&mut found).map_err(failed)?;
    if found == content { Ok(()) } else { Err(BootPartitionError::Content(path.to_owned())) }
}

/// The same content gives the same bytes: files have no time.
fn options() -> FsOptions {
    FsOptions::new().update_accessed_date(false)
}

fn write<T: Read + Write + Seek>(system: &FileSystem<T>, path: &str, content: &[u8]) -> io::Result<()> {
    for (at, _) in path.match_indices('/') {
        let folder = path.get(..at).unwrap_or_default();
        // Opens one that exists.
        system.root_dir().create_dir(folder)?;
    }
    let mut file = system.root_dir().create_file(path)?;
    file.truncate()?;
    file.write_all(content)?;
    file.flush()
}

/// A range of a disk.
struct Part<'a, D: Disk> {
    disk: &'a mut D,
    offset: u64,
    bytes: u64,
    at: u64,
}

impl<D: Disk> Part<'_, D> {
    /// Bytes of a transfer that are within the range.
    fn within(&self, length: usize) -> usize {
        usize::try_from(self.bytes.saturating_sub(self.at)).unwrap_or(usize::MAX).min(length)
    }
}

impl<D: Disk> Read for Part<'_, D> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.within(into.len());
        self.disk.read_at(into.get_mut(..length).unwrap_or_default(), self.offset + self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

impl<D: Disk> Write for Part<'_, D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.within(bytes.len());
        self.disk.write_at(bytes.get(..length).unwrap_or_default(), self.offset + self.at)?;
        self.at += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<D: Disk> Seek for Part<'_, D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.bytes.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use disk_slots::DiskFile;

    use super::*;

    const OFFSET: u64 = 3 << 20;
    const BYTES: u64 = 40 << 20;

    /// A file with a FAT file system in its middle, as an image has.
    fn disk() -> tempfile::NamedTempFile {
        let disk = tempfile::NamedTempFile::new().unwrap();
        disk.as_file().set_len(OFFSET + BYTES + (1 << 20)).unwrap();
        disk.as_file().write_all_at(&[7; 512], OFFSET + BYTES).unwrap();
        let mut opened = DiskFile::open(disk.path()).unwrap();
        let mut part = Part { disk: &mut opened, offset: OFFSET, bytes: BYTES, at: 0 };
        fatfs::format_volume(&mut part, fatfs::FormatVolumeOptions::new()).unwrap();
        part.at = 0;
        let system = FileSystem::new(&mut part, FsOptions::new()).unwrap();
        write(&system, "loader/loader.conf", b"timeout 0\n").unwrap();
        system.unmount().unwrap();
        disk
    }

    #[test]
    fn a_file_is_added_beside_what_is_there() {
        let disk = disk();
        let mut opened = DiskFile::open(disk.path()).unwrap();
        let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        for content in [&content[..], b"shorter"] {
            write_boot_file(&mut opened, (OFFSET, BYTES), "loader/addons/a-long-name.addon.efi", content)
                .unwrap();
            let mut part = Part { disk: &mut opened, offset: OFFSET, bytes: BYTES, at: 0 };
            let system = FileSystem::new(&mut part, FsOptions::new()).unwrap();
            let mut found = Vec::new();
            let folder = system.root_dir().open_dir("loader/addons").unwrap();
            folder.open_file("a-long-name.addon.efi").unwrap().read_to_end(&mut found).unwrap();
            assert!(found == content);
            let mut config = String::new();
            system.root_dir().open_file("loader/loader.conf").unwrap().read_to_string(&mut config).unwrap();
            assert_eq!(config, "timeout 0\n");
        }
        let mut after = [0; 512];
        disk.as_file().read_exact_at(&mut after, OFFSET + BYTES).unwrap();
        assert_eq!(after, [7; 512]);
    }

    #[test]
    fn a_partition_that_cannot_have_it_is_an_error() {
        let disk = disk();
        let mut opened = DiskFile::open(disk.path()).unwrap();
        let large = vec![1; usize::try_from(BYTES).unwrap()];
        let full = write_boot_file(&mut opened, (OFFSET, BYTES), "a", &large).unwrap_err();
        assert!(matches!(full, BootPartitionError::Write { .. }), "{full:?}");
        let none = write_boot_file(&mut opened, (0, 1 << 20), "a", b"x").unwrap_err();
        assert!(matches!(none, BootPartitionError::FileSystem(_)), "{none:?}");
    }
}
