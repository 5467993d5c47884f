//! The boot partition of an ISO image, where it is in the file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use fatfs::FileSystem;
use gpt::GptConfig;
use gpt::partition_types;

use crate::fat::{self, Window};
use crate::tree::{PathContext, TreeError};

/// Where ISO 9660 has its first volume descriptor, and its magic number there.
const MAGIC: (u64, &[u8; 5]) = (0x8001, b"CD001");
/// Bytes per logical block of the partition table.
const BLOCK: u64 = 512;

#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    #[error("cannot read the boot partition")]
    Read(#[from] TreeError),
    #[error("{path} has no readable partition table")]
    Table { path: PathBuf, source: gpt::GptError },
    #[error("{0} has no EFI system partition: it is no image of `keelson image build --format iso`")]
    Missing(PathBuf),
}

/// Whether the file is an ISO 9660 image.
pub fn is_iso(file: &mut File) -> io::Result<bool> {
    file.seek(SeekFrom::Start(MAGIC.0))?;
    let mut found = Vec::new();
    file.take(MAGIC.1.len() as u64).read_to_end(&mut found)?;
    Ok(found == MAGIC.1)
}

/// Opens the boot partition of `iso` for reading.
pub fn open(iso: &Path) -> Result<FileSystem<Window>, PartitionError> {
    open_file(&File::open(iso).at(iso)?, iso)
}

/// Opens the boot partition of an opened image; writing to it changes the image. `name` is for errors.
pub fn open_file(file: &File, name: &Path) -> Result<FileSystem<Window>, PartitionError> {
    let bad = |source| PartitionError::Table { path: name.into(), source };
    let copy = || file.try_clone().at(name);
    let table = GptConfig::new().writable(false).open_from_device(copy()?).map_err(bad)?;
    let entry = table.partitions().values().find(|entry| entry.part_type_guid == partition_types::EFI);
    let entry = entry.ok_or_else(|| PartitionError::Missing(name.into()))?;
    let range = entry.first_lba.saturating_mul(BLOCK)..entry.last_lba.saturating_add(1).saturating_mul(BLOCK);
    Ok(fat::open(Window::new(copy()?, range)).at(name)?)
}

/// Copies a file of the boot partition.
pub fn extract(iso: &Path, name: &str, to: &Path) -> Result<(), PartitionError> {
    let partition = open(iso)?;
    let mut content = partition.root_dir().open_file(name).at(iso)?;
    let mut out = File::create(to).at(to)?;
    io::copy(&mut content, &mut out).at(to)?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use super::*;
    use crate::fat::Content;
    use crate::fat::Entry;

    /// Writes a medium with a boot partition that has these files, and without ISO 9660's directories.
    pub(crate) fn write_medium(to: &Path, files: &[(&str, &[u8])]) {
        let entries = files.iter().map(|(path, content)| Entry {
            path: (*path).to_owned(),
            content: Content::Bytes(content.to_vec()),
        });
        let mut volume = io::Cursor::new(Vec::new());
        fat::write(&mut volume, *b"KEELSON    ", 1, &entries.collect::<Vec<_>>()).unwrap();
        let volume = volume.into_inner();
        let mut file = File::options().create_new(true).read(true).write(true).open(to).unwrap();
        file.set_len(volume.len() as u64 + (4 << 20)).unwrap();
        let config = GptConfig::new().writable(true).logical_block_size(gpt::disk::LogicalBlockSize::Lb512);
        let mut table = config.create_from_device(file.try_clone().unwrap(), None).unwrap();
        // The magic number is before the first partition.
        table.add_partition("Gap0", 1 << 20, partition_types::BASIC, 0, None).unwrap();
        let number = table.add_partition("boot", volume.len() as u64, partition_types::EFI, 0, None).unwrap();
        let start = table.partitions()[&number].first_lba * BLOCK;
        table.write().unwrap();
        for (at, bytes) in [(MAGIC.0, &MAGIC.1[..]), (start, &volume)] {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(bytes).unwrap();
        }
    }

    #[test]
    fn a_file_of_the_boot_partition_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let [iso, to] = ["a.iso", "to"].map(|name| folder.path().join(name));
        write_medium(&iso, &[("live/vmlinuz", b"kernel"), ("live/initrd.img", b"initrd")]);
        assert!(is_iso(&mut File::open(&iso).unwrap()).unwrap());
        extract(&iso, "live/initrd.img", &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"initrd");
        let error = extract(&iso, "live/other", &to).unwrap_err();
        assert!(matches!(error, PartitionError::Read(_)), "{error:?}");
    }

    #[test]
    fn what_has_no_boot_partition_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [0; 100]).unwrap();
        assert!(!is_iso(&mut File::open(&path).unwrap()).unwrap());
        assert!(matches!(open(&path).map(drop).unwrap_err(), PartitionError::Table { .. }));
        let file =
            File::options().create_new(true).read(true).write(true).open(path.with_extension("gpt")).unwrap();
        file.set_len(4 << 20).unwrap();
        let config = GptConfig::new().writable(true).logical_block_size(gpt::disk::LogicalBlockSize::Lb512);
        config.create_from_device(file, None).unwrap().write().unwrap();
        let error = open(&path.with_extension("gpt")).map(drop).unwrap_err().to_string();
        assert!(error.contains("has no EFI system partition"), "{error}");
    }
}
