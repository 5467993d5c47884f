//! OpenStack's metadata service, with the contents of the config drive (contract 5.4).

use cloudinit::metadata::Metadata;
use cloudinit::provider::openstack::{META_DATA, MetaData, NETWORK_DATA, USER_DATA};

use super::super::error::DatasourceError;
use super::access::NO_AUTH;
use super::protocol::Protocol;
use super::session::Session;

pub(super) const PROTOCOL: Protocol =
    Protocol { kind: "openstack-metadata-service", probe: META_DATA, access: NO_AUTH, user_data, metadata };

fn user_data(session: &Session) -> Result<Vec<u8>, DatasourceError> {
    Ok(session.user_data(USER_DATA)?.unwrap_or_default())
}

fn metadata(session: &Session) -> Result<Metadata, DatasourceError> {
    let mut meta = MetaData::read(&session.item(META_DATA)?)?;
    let config = match meta.network_config() {
        Some(path) => session.item(&path)?,
        None => Vec::new(),
    };
    Ok(meta.metadata(&session.item(NETWORK_DATA)?, &config)?)
}
