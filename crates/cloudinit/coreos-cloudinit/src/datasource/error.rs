//! Why user-data or metadata could not be fetched.

use std::path::PathBuf;

use cloudinit::key_import::ResponseError;
use cloudinit::provider::Malformed;
use cloudinit::provider::guest_rpc::RpcError;

use crate::rights::RightsError;

#[derive(Debug, thiserror::Error)]
pub enum DatasourceError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is a {kind}, not a regular file", path.display())]
    NotAFile { path: PathBuf, kind: &'static str },
    #[error("{} has more than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: usize },
    #[error(transparent)]
    Answer(#[from] Malformed),
    #[error(transparent)]
    Keys(#[from] ResponseError),
    #[error("{} is not valid", path.display())]
    Malformed { path: PathBuf, source: Malformed },
    #[error("cannot read guestinfo.{key} from the hypervisor")]
    Guestinfo { key: String, source: RpcError },
    #[error("cannot handle faults of the instruction that calls the hypervisor")]
    FaultHandler(#[source] std::io::Error),
    #[error(transparent)]
    Rights(#[from] RightsError),
    #[error("URL is empty. Skipping.")]
    EmptyUrl,
    #[error("URL {0} does not have a valid HTTP scheme. Skipping.")]
    UrlScheme(String),
    #[error("cannot fetch {url}: {reason}")]
    Url { url: String, reason: String },
    #[error("{url} is not there: HTTP status {status}")]
    NotFound { url: String, status: u16 },
    #[error("Unable to fetch data. Maximum retries reached: {0}")]
    Retries(u32),
    #[error("Unable to fetch data within {0:?}")]
    Slow(std::time::Duration),
    #[error("No datasources available in time: {0}")]
    NoneInTime(String),
    #[error("No datasource is available: {0}")]
    NoneNow(String),
}
