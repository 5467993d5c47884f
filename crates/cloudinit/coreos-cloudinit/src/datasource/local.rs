//! Files and standard input, read with a cap.

use std::fs::{File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use cloudinit::limits::MAX_RAW_BYTES;
use cloudinit::provider::Malformed;
use nix::fcntl::OFlag;

use super::error::DatasourceError;

pub(super) fn stdin() -> Result<Vec<u8>, DatasourceError> {
    read(io::stdin().lock(), Path::new("standard input"))
}

pub(super) fn file(path: &Path) -> Result<Vec<u8>, DatasourceError> {
    let failed = |source| DatasourceError::Read { path: path.into(), source };
    // A FIFO without a writer, and some devices, would hold the opening itself.
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

/// The content, `None` if there is no such file.
pub(super) fn optional(path: &Path) -> Result<Option<Vec<u8>>, DatasourceError> {
    match file(path) {
        Err(DatasourceError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        content => content.map(Some),
    }
}

/// What `reader` makes of the file, `None` if there is no such file.
pub(super) fn understood<T>(
    path: &Path,
    reader: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> Result<Option<T>, DatasourceError> {
    let Some(content) = optional(path)? else { return Ok(None) };
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
