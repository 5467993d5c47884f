//! Google's Compute Engine (contract 5.6).

use cloudinit::metadata::Metadata;
use cloudinit::provider::gce::{self, Responses};

use super::super::error::DatasourceError;
use super::access::Access;
use super::protocol::Protocol;
use super::session::Session;

pub(super) const PROTOCOL: Protocol = Protocol {
    kind: "gce-metadata-service",
    probe: "computeMetadata/v1/",
    access: Access { headers: &[("Metadata-Flavor", "Google")], token: None },
    user_data,
    metadata,
};

fn user_data(session: &Session) -> Result<Vec<u8>, DatasourceError> {
    if let Some(user_data) = session.user_data("computeMetadata/v1/instance/attributes/user-data")? {
        return Ok(user_data);
    }
    if let Some(user_data) = session.user_data("computeMetadata/v1/project/attributes/user-data")? {
        session.log.info("The instance has no user-data, taking the project's");
        return Ok(user_data);
    }
    // Only for a hint: a failure is ignored.
    let script = session.for_optional().item("computeMetadata/v1/instance/attributes/startup-script");
    if script.is_ok_and(|script| !script.is_empty()) {
        session.log.warning(
            "Warning: there is no user-data, but a startup-script, which is not run here: put it under the key \
             user-data",
        );
    }
    Ok(Vec::new())
}

fn metadata(session: &Session) -> Result<Metadata, DatasourceError> {
    let item = |name: &str| session.item(&format!("computeMetadata/v1/instance/{name}"));
    Ok(gce::metadata(&Responses {
        external_ip: item("network-interfaces/0/access-configs/0/external-ip")?,
        internal_ip: item("network-interfaces/0/ip")?,
        hostname: item("hostname")?,
        instance: session.optional(
            "the instance's identity",
            session.for_optional().item("computeMetadata/v1/instance/id"),
        ),
    })?)
}
