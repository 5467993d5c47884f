//! HTTP as datasources need it: asked again while that may help, within limits, and with no secret in a log.

mod agent;
mod client;
mod resolver;

pub(super) use client::{Client, Header};

use std::time::Duration;

use cloudinit::limits::MAX_RAW_BYTES;

use super::error::DatasourceError;
use super::patience::Patience;
use super::url::Url;
use crate::log::Log;

/// All attempts fit in.
const LIMIT: Duration = Duration::from_secs(4 * 60);

/// The user-data at a URL.
///
/// # Errors
/// The URL cannot be used, is not there, or every attempt failed.
pub(super) fn fetch(url: &Url, patience: Patience, log: &Log) -> Result<Vec<u8>, DatasourceError> {
    Client::new(url, patience, LIMIT, log)?.get(url, &[], MAX_RAW_BYTES)
}
