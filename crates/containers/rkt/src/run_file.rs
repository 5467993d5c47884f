//! Small files: bounded reading, and files with UUIDs.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::Context as _;
use pod::Uuid;

const UUID_FILE_MODE: u32 = 0o644;
const MAX_UUID_FILE: u64 = 256;

/// Reads a file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > limit {
        anyhow::bail!("{} has more than {limit} bytes", path.display());
    }
    Ok(bytes)
}

/// As [`read`]; `None` if there is no such file.
pub fn read_if_present(path: &Path, limit: u64) -> anyhow::Result<Option<Vec<u8>>> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        _ => read(path, limit).map(Some),
    }
}

pub fn read_text(path: &Path, limit: u64) -> anyhow::Result<String> {
    String::from_utf8(read(path, limit)?).with_context(|| format!("{} is not UTF-8", path.display()))
}

/// The whole UUID in a file that `--uuid-file-save` wrote.
pub fn read_uuid(path: &str) -> anyhow::Result<Uuid> {
    let text = read_text(path.as_ref(), MAX_UUID_FILE)?;
    text.trim().parse().with_context(|| path.to_owned())
}

pub fn save_uuid(path: &str, uuid: &Uuid) -> anyhow::Result<()> {
    let saved = service::file::replace(path.as_ref(), uuid.as_str().as_bytes(), UUID_FILE_MODE);
    saved.with_context(|| format!("cannot write {path}"))
}
