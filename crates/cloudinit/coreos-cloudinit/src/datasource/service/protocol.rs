//! How a service is asked.

use cloudinit::metadata::Metadata;

use super::super::error::DatasourceError;
use super::access::Access;
use super::session::Session;

pub(super) struct Protocol {
    /// The name that logs use.
    pub kind: &'static str,
    /// The path that tells whether the service is there.
    pub probe: &'static str,
    pub access: Access,
    pub user_data: fn(&Session) -> Result<Vec<u8>, DatasourceError>,
    pub metadata: fn(&Session) -> Result<Metadata, DatasourceError>,
}
