//! FAT file systems of boot media, as firmware and boot loaders read them.
//!
//! The same entries give the same bytes: files have no time, and are written in order.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

/// Bytes per cluster: a block of a CD-ROM.
const CLUSTER: u64 = 2048;
/// Fewer clusters are FAT16.
const MIN_FAT32_CLUSTERS: u64 = 65_525 + 32;
/// For reserved sectors, root directory and rounding.
const RESERVE: u64 = 256 << 10;
const ALIGNMENT: u64 = 1 << 20;

/// A file of a volume.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Path with `/` between its parts.
    pub path: String,
    pub content: Content<'a>,
}

#[derive(Debug)]
pub enum Content<'a> {
    Bytes(Vec<u8>),
    File(&'a Path),
}

impl Entry<'_> {
    fn length(&self) -> io::Result<u64> {
        match &self.content {
            Content::Bytes(bytes) => Ok(bytes.len() as u64),
            Content::File(path) => Ok(path.metadata()?.len()),
        }
    }
}

/// Writes a volume that is as large as its entries require, to the start of an empty file. `label` is padded with spaces.
pub fn write<T: Read + Write + Seek>(
    out: &mut T,
    label: [u8; 11],
    id: u32,
    entries: &[Entry<'_>],
) -> io::Result<()> {
    let mut clusters = 0;
    for entry in entries {
        // One more for a folder of its own.
        clusters += entry.length()?.div_ceil(CLUSTER) + 1;
    }
    let kind = if clusters < MIN_FAT32_CLUSTERS { FatType::Fat16 } else { FatType::Fat32 };
    // Two copies of the table.
    let table = clusters * if kind == FatType::Fat16 { 4 } else { 8 };
    // A volume that is too small for FAT16 would be taken for FAT12.
    let bytes = (clusters * CLUSTER + table + RESERVE).max(16 << 20).next_multiple_of(ALIGNMENT);
    out.seek(SeekFrom::Start(bytes - 1))?;
    out.write_all(&[0])?;
    let options = FormatVolumeOptions::new()
        .bytes_per_cluster(u32::try_from(CLUSTER).map_err(io::Error::other)?)
        .total_sectors(u32::try_from(bytes / 512).map_err(io::Error::other)?)
        .fat_type(kind)
        .volume_label(label)
        .volume_id(id);
    out.seek(SeekFrom::Start(0))?;
    fatfs::format_volume(&mut *out, options)?;
    let volume = open(&mut *out)?;
    for entry in entries {
        add(&volume, entry)?;
    }
    volume.unmount()
}

fn add<T: Read + Write + Seek>(volume: &FileSystem<T>, entry: &Entry<'_>) -> io::Result<()> {
    let mut folder = volume.root_dir();
    let (parents, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
    for part in parents.split('/').filter(|part| !part.is_empty()) {
        folder = folder.create_dir(part)?;
    }
    let mut file = folder.create_file(name)?;
    match &entry.content {
        Content::Bytes(bytes) => file.write_all(bytes)?,
        Content::File(path) => io::copy(&mut File::open(path)?, &mut file).map(drop)?,
    }
    file.flush()
}

/// Opens a volume. Reading changes nothing of it.
pub fn open<T: Read + Write + Seek>(mut volume: T) -> io::Result<FileSystem<T>> {
    volume.seek(SeekFrom::Start(0))?;
    FileSystem::new(volume, FsOptions::new().update_accessed_date(false))
}

/// Part of a file, as a file.
#[derive(Debug)]
pub struct Window {
    file: File,
    range: Range<u64>,
    position: u64,
}

impl Window {
    /// `range` is in bytes of `file`.
    pub fn new(file: File, range: Range<u64>) -> Self {
        Self { file, range, position: 0 }
    }

    /// Positions the file, and returns how many of `bytes` are within the window.
    fn seek_within(&mut self, bytes: usize) -> io::Result<usize> {
        let left = (self.range.end - self.range.start).saturating_sub(self.position);
        self.file.seek(SeekFrom::Start(self.range.start + self.position))?;
        Ok(usize::try_from(left).unwrap_or(usize::MAX).min(bytes))
    }
}

impl Read for Window {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let within = self.seek_within(bytes.len())?;
        let count = self.file.read(&mut bytes[..within])?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Window {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let within = self.seek_within(bytes.len())?;
        let count = self.file.write(&bytes[..within])?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let length = self.range.end - self.range.start;
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => length.checked_add_signed(by),
        };
        let before = || io::Error::new(io::ErrorKind::InvalidInput, "a position before the start");
        self.position = position.ok_or_else(before)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entries(small: &str) -> Vec<Entry<'_>> {
        vec![
            Entry { path: "EFI/BOOT/BOOTX64.EFI".to_owned(), content: Content::Bytes(vec![7; 5000]) },
            Entry { path: "a.txt".to_owned(), content: Content::Bytes(small.as_bytes().to_vec()) },
        ]
    }

    fn volume(small: &str) -> Vec<u8> {
        let mut out = io::Cursor::new(Vec::new());
        write(&mut out, *b"KEELSON    ", 7, &entries(small)).unwrap();
        out.into_inner()
    }

    #[test]
    fn a_volume_contains_its_entries_and_no_time() {
        let bytes = volume("small");
        assert!(bytes == volume("small"));
        let opened = open(io::Cursor::new(bytes)).unwrap();
        assert_eq!(opened.volume_id(), 7);
        let mut content = Vec::new();
        let root = opened.root_dir();
        root.open_file("EFI/BOOT/BOOTX64.EFI").unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(content, [7; 5000]);
    }

    #[test]
    fn more_clusters_than_fat16_has_are_fat32() {
        let folder = tempfile::tempdir().unwrap();
        let [large, to] = ["large", "volume"].map(|name| folder.path().join(name));
        File::create(&large).unwrap().set_len(CLUSTER * MIN_FAT32_CLUSTERS).unwrap();
        let mut out = File::options().read(true).write(true).create_new(true).open(&to).unwrap();
        let entry = Entry { path: "large".to_owned(), content: Content::File(&large) };
        write(&mut out, *b"KEELSON    ", 7, &[entry]).unwrap();
        assert_eq!(open(&mut out).unwrap().fat_type(), FatType::Fat32);
    }

    #[test]
    fn a_volume_in_a_file_is_read_and_written_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let volume = volume("small");
        fs::write(&path, [&[1; 2048], &*volume, &[2; 512]].concat()).unwrap();
        let replace = |text: &[u8]| {
            let file = File::options().read(true).write(true).open(&path).unwrap();
            let opened = open(Window::new(file, 2048..2048 + volume.len() as u64)).unwrap();
            opened.root_dir().open_file("a.txt").unwrap().write_all(text).unwrap();
            opened.unmount().unwrap();
        };
        let original = fs::read(&path).unwrap();
        replace(b"SMALL");
        let changed = fs::read(&path).unwrap();
        let different = original.iter().zip(&changed).filter(|(left, right)| left != right).count();
        assert_eq!((different, changed.len()), (5, original.len()));
        replace(b"small");
        assert!(fs::read(&path).unwrap() == original);
    }

    #[test]
    fn a_window_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"0123456789").unwrap();
        let mut window = Window::new(File::open(&path).unwrap(), 2..6);
        let mut text = String::new();
        window.read_to_string(&mut text).unwrap();
        assert_eq!(text, "2345");
        assert_eq!(window.seek(SeekFrom::End(-1)).unwrap(), 3);
        assert!(window.seek(SeekFrom::Current(-4)).is_err());
    }
}
