//! Metadata services: what is asked of each, and in which order.
//!
//! One file a service. What the answers mean is decided in `cloudinit::provider`.

mod access;
mod azure;
mod digitalocean;
mod ec2;
mod gce;
mod memory;
mod openstack;
mod packet;
mod protocol;
mod session;

use cloudinit::metadata::Metadata;

use super::error::DatasourceError;
use super::patience::Patience;
use super::url::Url;
use crate::log::Log;
pub use memory::Memory;
use protocol::Protocol;
use session::Session;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Azure,
    DigitalOcean,
    Ec2,
    Gce,
    OpenStack,
    Packet,
}

impl Service {
    fn protocol(self) -> &'static Protocol {
        match self {
            Self::Azure => &azure::PROTOCOL,
            Self::DigitalOcean => &digitalocean::PROTOCOL,
            Self::Ec2 => &ec2::PROTOCOL,
            Self::Gce => &gce::PROTOCOL,
            Self::OpenStack => &openstack::PROTOCOL,
            Self::Packet => &packet::PROTOCOL,
        }
    }

    /// The name that logs use.
    pub fn kind(self) -> &'static str {
        self.protocol().kind
    }

    /// # Errors
    /// It does not answer as this service does.
    pub(super) fn probe(
        self,
        url: &Url,
        memory: &Memory,
        patience: Patience,
        log: &Log,
    ) -> Result<(), DatasourceError> {
        let protocol = self.protocol();
        Session::start(&protocol.access, url, memory, patience, log)?.find(protocol.probe)
    }

    /// # Errors
    /// It does not answer, or with something that cannot be user-data.
    pub(super) fn user_data(
        self,
        url: &Url,
        memory: &Memory,
        patience: Patience,
        log: &Log,
    ) -> Result<Vec<u8>, DatasourceError> {
        let protocol = self.protocol();
        (protocol.user_data)(&Session::start(&protocol.access, url, memory, patience, log)?)
    }

    /// # Errors
    /// It does not answer, or with something that cannot be understood.
    pub(super) fn metadata(
        self,
        url: &Url,
        memory: &Memory,
        patience: Patience,
        log: &Log,
    ) -> Result<Metadata, DatasourceError> {
        let protocol = self.protocol();
        (protocol.metadata)(&Session::start(&protocol.access, url, memory, patience, log)?)
    }
}
