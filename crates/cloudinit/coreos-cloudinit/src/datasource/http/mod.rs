//! HTTP for datasources: retries, limits, and no secrets in the log.

mod agent;
mod client;
mod resolver;

pub(super) use client::{Client, Header};

use std::time::Duration;

use cloudinit::limits::MAX_RAW_BYTES;

use super::error::DatasourceError;
use super::retry::RetryPolicy;
use super::url::Url;
use crate::log::Log;

/// Limit of one fetch, retries included.
const LIMIT: Duration = Duration::from_secs(4 * 60);

/// Fetches user-data.
///
/// # Errors
/// The URL is invalid, not found, or every attempt failed.
pub(super) fn fetch(url: &Url, retry: RetryPolicy, log: &Log) -> Result<Vec<u8>, DatasourceError> {
    Client::new(url, retry, LIMIT, log)?.get(url, &[], MAX_RAW_BYTES)
}
