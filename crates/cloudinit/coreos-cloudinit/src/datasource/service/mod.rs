//! Metadata services: what is requested from each, and in which order.
//!
//! One file per service. `cloudinit::provider` interprets the responses.

mod access;
mod azure;
mod cache;
mod digitalocean;
mod ec2;
mod gce;
mod openstack;
mod packet;
mod protocol;
mod session;

use cloudinit::metadata::Metadata;

use super::error::DatasourceError;
use super::retry::RetryPolicy;
use super::url::Url;
use crate::log::Log;
pub use cache::Cache;
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

    /// The name used in logs.
    pub fn kind(self) -> &'static str {
        self.protocol().kind
    }

    /// # Errors
    /// The probe fails: the service is not available.
    pub(super) fn probe(
        self,
        url: &Url,
        cache: &Cache,
        retry: RetryPolicy,
        log: &Log,
    ) -> Result<(), DatasourceError> {
        let protocol = self.protocol();
        Session::start(&protocol.access, url, cache, retry, log)?.probe(protocol.probe)
    }

    /// # Errors
    /// The request fails, or the response is not valid user-data.
    pub(super) fn user_data(
        self,
        url: &Url,
        cache: &Cache,
        retry: RetryPolicy,
        log: &Log,
    ) -> Result<Vec<u8>, DatasourceError> {
        let protocol = self.protocol();
        (protocol.user_data)(&Session::start(&protocol.access, url, cache, retry, log)?)
    }

    /// # Errors
    /// The request fails, or the response cannot be parsed.
    pub(super) fn metadata(
        self,
        url: &Url,
        cache: &Cache,
        retry: RetryPolicy,
        log: &Log,
    ) -> Result<Metadata, DatasourceError> {
        let protocol = self.protocol();
        (protocol.metadata)(&Session::start(&protocol.access, url, cache, retry, log)?)
    }
}
