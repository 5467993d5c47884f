//! The folder of Azure's agent, `/var/lib/waagent` (contract 5.9).

use std::path::Path;

use cloudinit::metadata::Metadata;
use cloudinit::provider::azure;

use super::error::DatasourceError;
use super::local;

/// Created by the agent once everything else is in place.
const PROVISIONED: &str = "provisioned";
const CUSTOM_DATA: &str = "CustomData";
const SHARED_CONFIG: &str = "SharedConfig.xml";
/// The agent's copy of the provisioning disk's file, without the password.
const OVF_ENV: &str = "ovf-env.xml";

pub(super) fn is_provisioned(folder: &Path) -> bool {
    folder.join(PROVISIONED).exists()
}

/// Already decoded by the agent.
pub(super) fn user_data(folder: &Path) -> Result<Vec<u8>, DatasourceError> {
    match local::read_optional(&folder.join(CUSTOM_DATA))? {
        Some(user_data) => Ok(user_data),
        None => Ok(local::read_parsed(&folder.join(OVF_ENV), azure::user_data)?.unwrap_or_default()),
    }
}

pub(super) fn metadata(folder: &Path) -> Result<Metadata, DatasourceError> {
    let mut metadata = local::read_parsed(&folder.join(OVF_ENV), azure::provisioning)?.unwrap_or_default();
    if let Some(shared) = local::read_parsed(&folder.join(SHARED_CONFIG), azure::shared_config)? {
        metadata.addresses = shared.addresses;
        metadata.notes.extend(shared.notes);
    }
    Ok(metadata)
}
