//! How background processes, which outlive a command, are started.

use std::path::PathBuf;

/// The program that runs the background processes, usually the caller itself, and the leading arguments of each.
#[derive(Debug, Clone)]
pub struct Background {
    pub program: PathBuf,
    /// Followed by the LAN's folder; must call [`crate::lan::serve`].
    pub lan: Vec<String>,
    /// Followed by a file; must call [`crate::nspawn::supervisor::run`].
    pub supervisor: Vec<String>,
    /// Followed by a data folder and a port of 127.0.0.1; must serve etcd discovery.
    pub discovery: Vec<String>,
}
