//! Datasources: where user-data and metadata come from.

mod azure_disk;
mod azure_fabric;
mod backdoor;
mod cache;
mod cloud_sigma;
mod config_drive;
mod credential;
mod error;
mod fetcher;
mod guest_property;
mod http;
mod kernel_command_line;
mod local;
mod no_cloud;
mod poll;
mod properties;
mod retry;
mod saved;
mod service;
mod source;
mod time_budget;
mod url;
mod virtual_box;
mod vmware;
mod waagent;

pub use azure_fabric::report_ready;
pub use cache::Cache;
pub use fetcher::Fetcher;
pub use poll::{Chosen, Found, choose};
pub use retry::RetryPolicy;
pub use saved::Saved;
pub use service::Service;
pub use source::Source;
pub use url::Url;
