//! Responses of a source that are fetched once per run.

use std::cell::OnceCell;

use cloudinit::metadata::Metadata;
use cloudinit::provider::cloud_sigma::Context;

use super::error::DatasourceError;
use super::saved::Saved;
use super::service;
use super::vmware::Keys;

/// The cache of one source, from the moment it is found.
#[derive(Default)]
pub struct Cache {
    pub(super) service: service::Cache,
    /// `None` on other machines than VMware's.
    pub(super) guestinfo: OnceCell<Option<Keys>>,
    pub(super) context: OnceCell<Context>,
    /// Of Azure's machine.
    pub(super) metadata: OnceCell<Metadata>,
    /// User-data that the source provides at the first boot only.
    pub(super) first_boot_only: OnceCell<Saved>,
}

impl Cache {
    /// User-data to store for the next boots, as the source does not provide it again.
    pub fn into_saved(self) -> Option<Saved> {
        self.first_boot_only.into_inner()
    }
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
