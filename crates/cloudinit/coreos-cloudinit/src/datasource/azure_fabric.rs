//! The report to Azure's fabric that this machine is ready.

use std::time::Duration;

use cloudinit::limits::MAX_METADATA_BYTES;
use cloudinit::provider::azure_fabric::{CONTENT_TYPE, GOAL_STATE, GoalState, HEADERS, HEALTH};

use super::error::DatasourceError;
use super::http::Client;
use super::retry::RetryPolicy;
use super::url::Url;
use crate::log::Log;
use crate::rights;

/// For both requests, retries included. The unit tries again after a failure.
const LIMIT: Duration = Duration::from_secs(2 * 60);

/// # Errors
/// The fabric at `base` does not respond, its goal state is not valid, or it refuses the report.
pub fn report_ready(base: &Url, log: &Log) -> Result<(), DatasourceError> {
    let client = Client::new(base, RetryPolicy::Retry, LIMIT, log)?;
    let goal_state = client.get(&base.append_path(GOAL_STATE), &HEADERS, MAX_METADATA_BYTES)?;
    let malformed = |source| DatasourceError::Malformed { path: "the goal state".into(), source };
    let goal_state = rights::parse_only(log, || GoalState::read(&goal_state))?.map_err(malformed)?;
    let headers = [&HEADERS[..], &[CONTENT_TYPE]].concat();
    client.post(&base.append_path(HEALTH), &headers, &goal_state.ready(), MAX_METADATA_BYTES)?;
    Ok(())
}
