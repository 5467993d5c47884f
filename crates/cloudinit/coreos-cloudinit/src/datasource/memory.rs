//! What a source told in this run: it is asked for that no second time.

use std::cell::OnceCell;

use cloudinit::provider::cloud_sigma::Context;

use super::error::DatasourceError;
use super::service;
use super::vmware::Keys;

/// Of one source, from when it was found to be there.
#[derive(Default)]
pub struct Memory {
    pub(super) service: service::Memory,
    /// `None` where there is no program to ask with.
    pub(super) guestinfo: OnceCell<Option<Keys>>,
    pub(super) context: OnceCell<Context>,
}

/// What is known, or what is told now. A question that failed is asked again.
pub(super) fn known<T>(
    place: &OnceCell<T>,
    ask: impl FnOnce() -> Result<T, DatasourceError>,
) -> Result<&T, DatasourceError> {
    if let Some(told) = place.get() {
        return Ok(told);
    }
    let told = ask()?;
    Ok(place.get_or_init(|| told))
}
