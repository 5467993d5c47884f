//! Files and standard input, read with a cap.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use cloudinit::limits::MAX_RAW_BYTES;

use super::DatasourceError;

pub(super) fn stdin() -> Result<Vec<u8>, DatasourceError> {
    read(io::stdin().lock(), Path::new("standard input"))
}

pub(super) fn file(path: &Path) -> Result<Vec<u8>, DatasourceError> {
    let file = File::open(path).map_err(|source| DatasourceError::Read { path: path.into(), source })?;
    read(file, path)
}

/// The content, `None` if there is no such file.
pub(super) fn optional(path: &Path) -> Result<Option<Vec<u8>>, DatasourceError> {
    match file(path) {
        Err(DatasourceError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        content => content.map(Some),
    }
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
