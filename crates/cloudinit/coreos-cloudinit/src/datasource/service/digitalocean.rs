//! DigitalOcean (contract 5.7).

use cloudinit::metadata::Metadata;
use cloudinit::provider::digitalocean;

use super::super::error::DatasourceError;
use super::access::NO_AUTH;
use super::protocol::Protocol;
use super::session::Session;

pub(super) const PROTOCOL: Protocol = Protocol {
    kind: "digitalocean-metadata-service",
    probe: "metadata/v1",
    access: NO_AUTH,
    user_data,
    metadata,
};

fn user_data(session: &Session) -> Result<Vec<u8>, DatasourceError> {
    Ok(session.user_data("metadata/v1/user-data")?.unwrap_or_default())
}

fn metadata(session: &Session) -> Result<Metadata, DatasourceError> {
    Ok(digitalocean::metadata(&session.item("metadata/v1.json")?)?)
}
