//! What `etcd` is told and how it finds its cluster: flags, `ETCD_*` and files -> checked [`Config`]; ids; the
//! decision how to bootstrap; the client side of discovery.
//!
//! It must never read a file, ask a clock, resolve a name or open a socket: all of these are arguments, and
//! what is to be done comes out as values.

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
mod low;
pub mod url;

pub use command::{Refusal, Task, files_wanted, read};
pub use config::Config;
pub use facts::Facts;
pub use url::Url;
