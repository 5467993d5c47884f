//! A NoCloud seed: a disk labelled `cidata`, or a folder.

use std::path::Path;

use cloudinit::metadata::Metadata;
use cloudinit::provider::no_cloud;

use super::error::DatasourceError;
use super::local;

const USER_DATA: &str = "user-data";
const META_DATA: &str = "meta-data";
const NETWORK_CONFIG: &str = "network-config";

/// Either file is sufficient.
pub(super) fn exists(seed: &Path) -> bool {
    [USER_DATA, META_DATA].iter().any(|name| seed.join(name).exists())
}

pub(super) fn user_data(seed: &Path) -> Result<Vec<u8>, DatasourceError> {
    Ok(local::read_optional(&seed.join(USER_DATA))?.unwrap_or_default())
}

pub(super) fn metadata(seed: &Path) -> Result<Metadata, DatasourceError> {
    let mut metadata = local::read_parsed(&seed.join(META_DATA), no_cloud::metadata)?.unwrap_or_default();
    let network = local::read_parsed(&seed.join(NETWORK_CONFIG), no_cloud::network_config)?;
    metadata.network = network.or(metadata.network);
    Ok(metadata)
}
