//! Packet (contract 5.7).

use cloudinit::metadata::Metadata;
use cloudinit::provider::packet;

use super::super::error::DatasourceError;
use super::access::NO_AUTH;
use super::protocol::Protocol;
use super::session::Session;

pub(super) const PROTOCOL: Protocol =
    Protocol { kind: "packet-metadata-service", probe: "", access: NO_AUTH, user_data, metadata };

fn user_data(session: &Session) -> Result<Vec<u8>, DatasourceError> {
    Ok(session.user_data("userdata")?.unwrap_or_default())
}

fn metadata(session: &Session) -> Result<Metadata, DatasourceError> {
    Ok(packet::metadata(&session.item("metadata")?)?)
}
