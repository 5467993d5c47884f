//! Configuration and bootstrap of `etcd`: flags, `ETCD_*` and files to a validated [`Config`]; ids; the bootstrap
//! decision; the discovery client.
//!
//! No I/O: files, clock, names and sockets are arguments, and actions are returned as values.

pub mod bootstrap;
mod check;
pub mod command;
pub mod completion;
pub mod config;
mod config_file;
pub mod data_dir;
pub mod discovery;
pub mod facts;
pub mod flag;
pub mod help;
pub mod ids;
pub mod initial_cluster;
pub mod limits;
mod raw_config;
pub mod url;

pub use command::{CommandLineError, Task, read, required_files};
pub use config::Config;
pub use facts::Facts;
pub use url::Url;
