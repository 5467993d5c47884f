//! What runs a node: the operations that QEMU and nspawn have in common.
//!
//! A back end changes files and processes of one node only, and never the state file: what it starts it
//! returns.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use crate::cluster::{Cluster, Node};
use crate::config_drive::{Drive, DriveError};
use crate::process::{Process, ProcessError};
use crate::processor::Acceleration;
use crate::qemu::qmp::QmpError;

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    None,
    /// So many reads and writes a second, and no more.
    Slow {
        operations: u64,
    },
    /// Writes and flushes end with an input/output error. What is there can be read.
    Failing,
}

pub trait Backend: Send + Sync {
    /// Whether machines run on KVM or are emulated; nothing where they are no machines of their own.
    fn acceleration(&self) -> Result<Option<Acceleration>, BackendError>;

    /// Makes what the node lacks before it starts. `drive` replaces the one that it had.
    fn prepare(&self, cluster: &Cluster, node: &Node, drive: &Drive) -> Result<(), BackendError>;

    /// Gives a running node the drive that its next boot reads.
    fn renew(&self, node: &Node, drive: &Drive) -> Result<(), BackendError>;

    /// Switches a stopped node on. Its LAN port is open already.
    fn start(&self, cluster: &Cluster, node: &Node) -> Result<Process, BackendError>;

    /// Asks the running system to shut down; does not wait for it.
    fn shut_down(&self, node: &Node, process: Process) -> Result<(), BackendError>;

    /// Presses the reset button.
    fn reset(&self, node: &Node, process: Process) -> Result<(), BackendError>;

    /// Pulls the plug, and returns when the node is dead.
    fn cut(&self, node: &Node, process: Process) -> Result<(), BackendError>;

    /// Puts a running node's disk at fault, or right again.
    fn disk(&self, node: &Node, fault: DiskFault) -> Result<(), BackendError>;

    /// What the back end itself knows about a node that does not come up.
    fn remark(&self, node: &Node) -> Option<String>;

    /// What its processors are at, for who looks for the cause of a stall; none where nobody can tell.
    fn processors(&self, node: &Node) -> Option<String>;
}

#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error("cannot make {path}")]
    Make { path: PathBuf, source: io::Error },
    #[error("{program} failed: {said}")]
    Tool { program: &'static str, said: String },
    #[error("the tools tree cannot be used")]
    Tools(#[from] sandbox::SandboxError),
    #[error("{0} cannot be run")]
    Run(&'static str, #[source] io::Error),
    #[error("port {port} of 127.0.0.1 is in use, and {node} shall have it")]
    Port { port: u16, node: String, source: io::Error },
    #[error("{path} has only {free_mib} MiB free; a node needs {need_mib}")]
    Full { path: PathBuf, free_mib: u64, need_mib: u64 },
    #[error(
        "the image {0} that its disk is based on is gone; only a new machine can be made (keelson destroy)"
    )]
    Image(PathBuf),
    #[error("{0}, the /usr that it is to run, is gone: it was cleared by newer builds")]
    Usr(PathBuf),
    #[error("nspawn needs root, because it makes mounts and network namespaces (sudo, or --on qemu)")]
    Root,
    #[error("{program} ended at once: {said} (all of it: {log})")]
    Ended { program: &'static str, said: String, log: PathBuf },
    #[error("the node's control group cannot be removed")]
    Group { source: io::Error },
    #[error("a container has no disk of its own that could fail")]
    NoDisk,
    #[error("QEMU does not obey")]
    Qmp(#[from] QmpError),
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// Space that must be free in the cluster's folder before a node is made.
pub const NODE_SPACE_MIB: u64 = 512;

/// Refuses to make a node where its disk could not grow.
pub fn check_space(folder: &Path) -> Result<(), BackendError> {
    let made = |source| BackendError::Make { path: folder.to_path_buf(), source };
    std::fs::create_dir_all(folder).map_err(made)?;
    let stat = nix::sys::statvfs::statvfs(folder).map_err(|error| made(error.into()))?;
    let free_mib = stat.blocks_available() * stat.fragment_size() / (1024 * 1024);
    if free_mib < NODE_SPACE_MIB {
        return Err(BackendError::Full { path: folder.to_path_buf(), free_mib, need_mib: NODE_SPACE_MIB });
    }
    Ok(())
}

/// Refuses ports that somebody else has; says which one.
pub fn check_ports(node: &Node) -> Result<(), BackendError> {
    for port in node.forwards.iter().map(|forward| forward.host).chain([node.ssh_port]) {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|source| BackendError::Port {
            port,
            node: node.name.clone(),
            source,
        })?;
    }
    Ok(())
}

/// A port of 127.0.0.1 that is free: `wish` where it can be had.
pub fn free_port(wish: u16) -> io::Result<u16> {
    if wish != 0 && TcpListener::bind((Ipv4Addr::LOCALHOST, wish)).is_ok() {
        return Ok(wish);
    }
    Ok(loopback_port::reserve()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Forward, Wish, tests::image};

    #[test]
    fn a_port_in_use_is_named_and_another_is_found_for_ssh() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(free_port(port).unwrap(), port);
        let mut node = Cluster::new("a", &Wish::default(), image()).nodes.remove(0);
        node.forwards = vec![Forward { host: port, guest: 80 }];
        let error = check_ports(&node).unwrap_err().to_string();
        assert_eq!(error, format!("port {port} of 127.0.0.1 is in use, and core-01 shall have it"));
        drop(taken);
        check_ports(&node).unwrap();
    }
}
