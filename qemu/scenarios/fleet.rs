//! The cluster manager on whole machines.

mod beats;
mod cluster;
pub mod commands;
pub mod docker;
pub mod machine_dies;
pub mod partition;
pub mod restarts;
pub mod templates;

/// What `keelson up` gives to machines where its user has no file of his own.
const SAMPLE: &str = include_str!("../../cloud-config/user-data.sample");
