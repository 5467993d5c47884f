//! Configuration of `fleetd`: arguments, configuration file and `FLEET_*` variables, parsed into a [`Config`].
//!
//! Pure: [`config_path`] returns the file that the caller has to read, [`read`] parses its contents, the environment
//! and the arguments. This crate never reads files, clocks or system state.

#![warn(missing_docs)]

mod arguments;
mod command;
mod config;
mod facts;
mod help;
mod ini;
mod key;
pub mod limits;
mod raw_config;
mod value;
mod version;

pub use command::{Command, StartupError, config_path, read};
pub use config::{Config, Etcd, Secret};
pub use facts::{Facts, File};
pub use version::VERSION;
