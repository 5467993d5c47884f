//! The programs that run machines, from the locked tools tree or the host's PATH.
//!
//! Callers name a program and its data files and need not know which of the two is used.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use sandbox::{Sandbox, SandboxError};

/// Environment variable that selects the host's programs, for work on the tools tree.
pub const HOST_TOOLS: &str = "KEELSON_HOST_TOOLS";

#[derive(Debug, Clone)]
pub enum Tools {
    Tree(Sandbox),
    Host,
}

impl Tools {
    /// Opens the tree at `tree`; each path of `shared` is visible inside at the same path.
    pub fn open(tree: &Path, shared: &[PathBuf]) -> Result<Self, SandboxError> {
        if std::env::var_os(HOST_TOOLS).is_some() {
            return Ok(Self::Host);
        }
        let sandbox = shared.iter().fold(Sandbox::new(tree)?, |sandbox, folder| sandbox.share(folder));
        Ok(Self::Tree(sandbox))
    }

    /// Lets programs forward a machine's DNS requests to the host's name servers.
    #[must_use]
    pub fn with_name_servers(self) -> Self {
        match self {
            Self::Tree(sandbox) => Self::Tree(sandbox.with_name_servers()),
            Self::Host => self,
        }
    }

    /// Lets programs find this name server only. Programs of the host's PATH still read the host's file.
    #[must_use]
    pub fn with_name_server(self, address: Ipv4Addr) -> Self {
        match self {
            Self::Tree(sandbox) => Self::Tree(sandbox.with_name_server(address)),
            Self::Host => self,
        }
    }

    pub fn command(&self, program: &str) -> Result<Command, SandboxError> {
        match self {
            Self::Tree(sandbox) => sandbox.command(program),
            Self::Host => Ok(Command::new(program)),
        }
    }
}
