//! What a format is written from: a raw disk, and the build that it is from.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use disk_formats::deflate::Deflater;
use disk_formats::vmdk::VmdkError;
use sandbox::SandboxError;

use crate::boot_image::BootImageError;
use crate::built::Built;
use crate::tool::ToolError;
use crate::tree::TreeError;

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("cannot write the image files")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    BootImage(#[from] BootImageError),
    #[error("cannot write {path}")]
    Vmdk { path: PathBuf, source: VmdkError },
}

/// A raw disk and what its files say of it.
#[derive(Debug)]
pub struct Source<'a> {
    pub raw: &'a Path,
    /// [`digest`](crate::sparse::digest) of the raw disk, for the record. Identifiers are derived from it.
    pub digest: String,
    /// Hex SHA-256 of the raw disk, if it is known.
    pub sha256: Option<&'a str>,
    /// `keelson-VERSION-CHANNEL`.
    pub name: &'a str,
    /// For temporary files, of this disk only.
    pub scratch: &'a Path,
    /// Of all disks of the build.
    pub deflater: &'a Deflater,
    /// The build that the disk is from. Its flag also cancels the encoding of a format.
    pub built: &'a Built,
}

/// A file that cannot be written any more once `cancel` is set.
pub struct Output<'a> {
    file: File,
    cancel: &'a AtomicBool,
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancel.load(Ordering::Relaxed) {
            // Writers repeat a write that failed with `Interrupted`.
            return Err(io::Error::other("interrupted"));
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for Output<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read(bytes)
    }
}

impl Seek for Output<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl<'a> Source<'a> {
    pub fn create(&self, to: &Path) -> io::Result<BufWriter<Output<'a>>> {
        Ok(BufWriter::new(self.open(to)?))
    }

    /// An empty file that its writer also reads.
    pub fn open(&self, to: &Path) -> io::Result<Output<'a>> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(to)?;
        Ok(Output { file, cancel: &self.built.cancel })
    }
}
