//! `ovf-env.xml` of Azure's provisioning disk, for machines without the agent (contract 5.9).

use std::path::Path;

use cloudinit::metadata::Metadata;
use cloudinit::provider::azure;

use super::error::DatasourceError;
use super::local;

pub(super) fn user_data(file: &Path) -> Result<Vec<u8>, DatasourceError> {
    Ok(local::read_parsed(file, azure::user_data)?.unwrap_or_default())
}

pub(super) fn metadata(file: &Path) -> Result<Metadata, DatasourceError> {
    Ok(local::read_parsed(file, azure::provisioning)?.unwrap_or_default())
}
