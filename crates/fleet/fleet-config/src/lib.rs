//! What `fleetd` is told: flags, its file, `FLEET_*` -> a checked [`Config`].
//!
//! It must never read a file, ask a clock or look at the machine: the file's text, the environment and the arguments
//! are values here. [`file_wanted`] says which file to read, [`read`] what follows from all.

mod arguments;
mod command;
mod config;
mod facts;
mod given;
mod help;
mod ini;
mod key;
pub mod limits;
mod value;
mod version;

pub use command::{Refusal, Task, file_wanted, read};
pub use config::{Config, Etcd, Secret};
pub use facts::{Facts, File};
pub use version::VERSION;
