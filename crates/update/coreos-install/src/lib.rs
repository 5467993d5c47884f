//! Writes the system to a disk or to a disk image: the library of `coreos-install`, and of `keelson install`.
//!
//! This crate maps the command line to a source, a destination and files; `disk_install` checks, verifies and writes.

#![warn(missing_docs)]

mod boot_entry;
mod channel;
mod configuration;
mod destination;
mod download;
mod flags;
mod job;
mod kept;
mod kernel_arguments;
mod number_range;
mod partitions;
mod progress;
mod run;
mod running;
mod settings;
mod source;

pub use channel::ChannelServer;
pub use destination::Destination;
pub use flags::{Flags, InstallFlags};
pub use job::Job;
pub use run::{Installed, NoDevice, install, run};
pub use running::read as running_system;
pub use settings::Running;
