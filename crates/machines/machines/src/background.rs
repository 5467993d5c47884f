//! How background processes, which outlive a command, are started.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that runs the background processes, usually the caller itself, and the leading arguments of each.
#[derive(Debug, Clone)]
pub struct Background {
    pub program: PathBuf,
    /// Followed by the LAN's folder; must call [`crate::lan::serve`].
    pub lan: Vec<String>,
    /// Followed by a file; must call [`crate::nspawn::supervisor::run`].
    pub supervisor: Vec<String>,
    /// Followed by a file; must call [`crate::qemu::supervisor::run`].
    pub qemu: Vec<String>,
    /// Followed by a data folder and a port of 127.0.0.1; must serve etcd discovery.
    pub discovery: Vec<String>,
}

/// The program and leading arguments of a machine's supervisor.
#[derive(Debug, Clone)]
pub struct SupervisorCommand {
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

impl SupervisorCommand {
    /// The command that runs the machine of the plan in `file`.
    #[must_use]
    pub fn of(&self, file: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(file);
        command
    }
}
