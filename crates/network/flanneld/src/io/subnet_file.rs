//! Reads and writes the subnet file.

use std::{fs, io, path::Path};

use anyhow::{Context, Result};
use flannel_core::SubnetFile;

/// Mode of the file: every program may read it.
const MODE: u32 = 0o644;

/// The file of the last run; none if it is absent or damaged, which is logged.
pub fn read(path: &Path) -> Option<SubnetFile> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::error!("cannot read the previous subnet from {}: {error}", path.display());
            return None;
        }
    };
    match SubnetFile::parse(&text) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::error!("cannot read the previous subnet from {}: {error}", path.display());
            None
        }
    }
}

/// Replaces the file; readers see the old or the new content.
pub fn write(path: &Path, file: &SubnetFile) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    service::file::replace(path, file.to_string().as_bytes(), MODE)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Removes the file, so that the next run leases another subnet.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
