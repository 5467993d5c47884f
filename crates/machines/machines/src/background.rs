//! How the processes that outlive a command are started.

use std::path::PathBuf;

/// How a program that uses this crate runs its background processes: itself, with these first arguments.
#[derive(Debug, Clone)]
pub struct Background {
    pub program: PathBuf,
    /// Followed by the LAN's folder; must call [`crate::lan::serve`].
    pub lan: Vec<String>,
    /// Followed by a file; must call [`crate::nspawn::keeper::run`].
    pub keeper: Vec<String>,
    /// Followed by a folder for its data and a port of 127.0.0.1 to listen on; must serve etcd's discovery.
    pub discovery: Vec<String>,
}
