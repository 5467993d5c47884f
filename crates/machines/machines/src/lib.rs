//! Machines for developing and testing: clusters of nodes in QEMU and nspawn, as one interface.
//!
//! [`site::Site`] is a cluster with its folder, its lock and its back end; [`machine::Machine`] is one node
//! of it with the words of scenarios. Nothing here builds images, reads command lines or prints.

pub mod acceleration;
pub mod asked;
pub mod backend;
pub mod background;
pub mod certificates;
pub mod cluster;
pub mod config_drive;
pub mod console;
pub mod credential;
pub mod firmware;
pub mod image;
pub mod keys;
pub mod lan;
pub mod limits;
pub mod logs;
pub mod machine;
pub mod nspawn;
pub mod process;
pub mod processor;
pub mod qemu;
pub mod ready;
pub mod resets;
pub mod site;
pub mod ssh;
pub mod status;
pub mod store;
pub mod switch;
pub mod tools;
mod wish;
