//! Entry points of fuzz targets.

use std::io;

pub use crate::customize::archive::Files;
use crate::customize::{CustomFile, archive};

/// Reads the archive of a customized image.
///
/// # Errors
/// It is damaged.
pub fn read_customization(bytes: &[u8]) -> io::Result<Vec<CustomFile>> {
    archive::read(bytes)
}

/// Writes the archive of a customized image.
///
/// # Errors
/// A file has 4 GiB or more.
pub fn write_customization(files: &Files) -> io::Result<Vec<u8>> {
    archive::bytes(files)
}
