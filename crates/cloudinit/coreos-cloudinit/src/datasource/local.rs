//! Files and standard input, with a size cap.

use std::fs::{File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use cloudinit::limits::MAX_RAW_BYTES;
use cloudinit::provider::Malformed;
use nix::fcntl::OFlag;

use super::error::DatasourceError;

pub(super) fn read_stdin() -> Result<Vec<u8>, DatasourceError> {
    read(io::stdin().lock(), Path::new("standard input"))
}

pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, DatasourceError> {
    let failed = |source| DatasourceError::Read { path: path.into(), source };
    // Opening a FIFO without a writer, or some devices, would block.
    let file =
        File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if !kind.is_file() {
        return Err(DatasourceError::NotAFile { path: path.into(), kind: kind_name(kind) });
    }
    read(file, path)
}

fn kind_name(kind: FileType) -> &'static str {
    match () {
        () if kind.is_dir() => "directory",
        () if kind.is_fifo() => "FIFO",
        () if kind.is_socket() => "socket",
        () => "device",
    }
}

/// `None` if the file does not exist.
pub(super) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, DatasourceError> {
    match read_file(path) {
        Err(DatasourceError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        content => content.map(Some),
    }
}

/// The file, parsed by `reader`; `None` if it does not exist.
pub(super) fn read_parsed<T>(
    path: &Path,
    reader: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> Result<Option<T>, DatasourceError> {
    let Some(content) = read_optional(path)? else { return Ok(None) };
    let malformed = |source| DatasourceError::Malformed { path: path.into(), source };
    reader(&content).map(Some).map_err(malformed)
}

fn read(from: impl Read, path: &Path) -> Result<Vec<u8>, DatasourceError> {
    let mut content = Vec::new();
    let read = from
        .take(MAX_RAW_BYTES as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|source| DatasourceError::Read { path: path.into(), source })?;
    if read > MAX_RAW_BYTES {
        return Err(DatasourceError::TooLarge { path: path.into(), limit: MAX_RAW_BYTES });
    }
    Ok(content)
}
