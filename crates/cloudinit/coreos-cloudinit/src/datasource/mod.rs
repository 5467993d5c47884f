//! Where user-data and metadata come from.

mod azure_disk;
mod cloud_sigma;
mod config_drive;
mod credential;
mod error;
mod fetcher;
mod http;
mod kernel_command_line;
mod local;
mod memory;
mod no_cloud;
mod pace;
mod patience;
mod poll;
mod service;
mod source;
mod transport;
mod url;
mod virtual_box;
mod vmware;
mod waagent;

pub use fetcher::Fetcher;
pub use memory::Memory;
pub use patience::Patience;
pub use poll::{Chosen, Found, choose};
pub use service::Service;
pub use source::Source;
pub use url::Url;
