//! Azure's instance metadata service (contract 5.9).

use cloudinit::metadata::Metadata;
use cloudinit::provider::azure_imds;

use super::super::error::DatasourceError;
use super::access::Access;
use super::protocol::Protocol;
use super::session::Session;

const INSTANCE: &str = "metadata/instance?api-version=2021-02-01";

pub(super) const PROTOCOL: Protocol = Protocol {
    kind: "azure-metadata-service",
    probe: INSTANCE,
    access: Access { headers: &[("Metadata", "true")], token: None },
    user_data,
    metadata,
};

fn user_data(session: &Session) -> Result<Vec<u8>, DatasourceError> {
    Ok(azure_imds::user_data(&session.item(INSTANCE)?)?)
}

fn metadata(session: &Session) -> Result<Metadata, DatasourceError> {
    Ok(azure_imds::metadata(&session.item(INSTANCE)?)?)
}
