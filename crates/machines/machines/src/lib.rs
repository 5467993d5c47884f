//! Machines for development and tests: clusters of nodes in QEMU or systemd-nspawn behind one interface.
//!
//! [`site::Site`] is a cluster with its folder, lock and back end. [`machine::Machine`] is one node of it with the
//! operations that test scenarios use. This crate builds no images, parses no command line and prints nothing.

pub mod acceleration;
pub mod backend;
pub mod background;
pub mod certificates;
pub mod cluster;
mod cluster_spec;
pub mod config_drive;
pub mod console;
pub mod credential;
pub mod firmware;
pub mod guest;
pub mod image;
pub mod keys;
pub mod lan;
pub mod lan_host;
pub mod limits;
pub mod logs;
pub mod machine;
pub mod network;
pub mod nspawn;
mod pidfd;
pub mod process;
pub mod processor;
pub mod qemu;
pub mod ready;
pub mod resets;
pub mod site;
pub mod spec_change;
pub mod ssh;
pub mod status;
pub mod store;
pub mod switch;
pub mod tools;
