//! Responses of a source that are fetched once per run.

use std::cell::OnceCell;

use cloudinit::provider::cloud_sigma::Context;

use super::error::DatasourceError;
use super::service;
use super::vmware::Keys;

/// The cache of one source, from the moment it is found.
#[derive(Default)]
pub struct Cache {
    pub(super) service: service::Cache,
    /// `None` on other machines than VMware's.
    pub(super) guestinfo: OnceCell<Option<Keys>>,
    pub(super) context: OnceCell<Context>,
}

/// The cached value, or the result of `query`. Failures are not cached.
pub(super) fn cached<T>(
    cell: &OnceCell<T>,
    query: impl FnOnce() -> Result<T, DatasourceError>,
) -> Result<&T, DatasourceError> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = query()?;
    Ok(cell.get_or_init(|| value))
}
