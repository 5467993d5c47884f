//! Where user-data and metadata come from.

mod config_drive;
mod error;
mod http;
mod kernel_command_line;
mod local;
mod patience;
mod poll;
mod source;
mod url;

pub use patience::Patience;
pub use poll::{Chosen, choose};
pub use source::Source;
pub use url::Url;
