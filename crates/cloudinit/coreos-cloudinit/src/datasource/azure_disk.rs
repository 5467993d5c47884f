//! `ovf-env.xml` of Azure's provisioning disk, for machines without the agent (contract 5.9).
//!
//! The file has the password in the clear: nothing of it but what is parsed may reach a log or another file.

use std::path::Path;

use cloudinit::metadata::Metadata;
use cloudinit::provider::azure;

use super::error::DatasourceError;
use super::local;
use super::saved::Saved;

pub(super) fn user_data(file: &Path) -> Result<Vec<u8>, DatasourceError> {
    Ok(local::read_parsed(file, azure::user_data)?.unwrap_or_default())
}

pub(super) fn metadata(file: &Path) -> Result<Metadata, DatasourceError> {
    Ok(local::read_parsed(file, azure::provisioning)?.unwrap_or_default())
}

/// The disk's custom data; without the disk, which Azure removes after the first boot, the copy of the boot that had it.
/// Empty if there is neither.
pub(super) fn custom_data(
    file: &Path,
    saved: &Path,
    metadata: &Metadata,
) -> Result<Vec<u8>, DatasourceError> {
    let user_data = user_data(file)?;
    if !user_data.is_empty() {
        return Ok(user_data);
    }
    // Another instance's is that of the machine whose disk was copied.
    let saved = local::read_optional(saved)?.and_then(|content| Saved::parse(&content));
    let own = saved.filter(|saved| metadata.instance.as_deref() == Some(&*saved.instance));
    Ok(own.map(|saved| saved.user_data).unwrap_or_default())
}

/// Adds to the service's metadata what only the disk has.
pub(super) fn complete(mut metadata: Metadata, file: &Path) -> Result<Metadata, DatasourceError> {
    if metadata.hostname.is_none() || metadata.keys.is_empty() {
        let Metadata { hostname, keys, notes, .. } = self::metadata(file)?;
        metadata.hostname = metadata.hostname.or(hostname);
        if metadata.keys.is_empty() {
            metadata.keys = keys;
        }
        metadata.notes.extend(notes);
    }
    Ok(metadata)
}
