//! The description of a metadata service.

use cloudinit::metadata::Metadata;

use super::super::error::DatasourceError;
use super::access::Access;
use super::session::Session;

pub(super) struct Protocol {
    /// The name used in logs.
    pub kind: &'static str,
    /// The path whose success shows that the service is available.
    pub probe: &'static str,
    pub access: Access,
    pub user_data: fn(&Session) -> Result<Vec<u8>, DatasourceError>,
    pub metadata: fn(&Session) -> Result<Metadata, DatasourceError>,
}
