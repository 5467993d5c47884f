//! The interface of the back ends that run nodes: QEMU and nspawn.
//!
//! A back end changes files and processes of one node only and never the state file: it returns the processes that it
//! starts.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use crate::cluster::{Cluster, Node};
use crate::config_drive::{Drive, DriveError};
use crate::process::{Process, ProcessError};
use crate::processor::Acceleration;
use crate::qemu::qmp::QmpError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    None,
    /// Limits reads and writes to this number per second.
    Slow {
        operations: u64,
    },
    /// Writes and flushes fail with EIO; reads succeed.
    Failing,
}

pub trait Backend: Send + Sync {
    /// Whether machines run on KVM or are emulated; `None` for containers.
    fn acceleration(&self) -> Result<Option<Acceleration>, BackendError>;

    /// Creates what the node lacks before it starts, and replaces its config drive.
    fn prepare(&self, cluster: &Cluster, node: &Node, drive: &Drive) -> Result<(), BackendError>;

    /// Replaces the config drive of a running node, for its next boot.
    fn update_drive(&self, node: &Node, drive: &Drive) -> Result<(), BackendError>;

    /// Starts a stopped node. Its LAN port must be open.
    fn start(&self, cluster: &Cluster, node: &Node) -> Result<Process, BackendError>;

    /// The process that executes a running node: its processor time is the node's, and without it the node writes
    /// nothing. `process` is the one that was returned by [`Backend::start`].
    fn machine_process(&self, _node: &Node, process: Process) -> Process {
        process
    }

    /// Requests a shutdown of the running system; does not wait for it.
    fn shut_down(&self, node: &Node, process: Process) -> Result<(), BackendError>;

    fn reset(&self, node: &Node, process: Process) -> Result<(), BackendError>;

    /// Cuts the node's power, and returns when it has exited.
    fn power_off(&self, node: &Node, process: Process) -> Result<(), BackendError>;

    /// Injects a disk fault into a running node, or clears it.
    fn set_disk_fault(&self, node: &Node, fault: DiskFault) -> Result<(), BackendError>;

    /// What the back end knows about a node that does not become ready.
    fn diagnose(&self, node: &Node) -> Option<String>;

    /// Register dump of the node's processors, for the analysis of a stall.
    fn processor_registers(&self, node: &Node) -> Option<String>;
}

#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error("cannot create {path}")]
    Make { path: PathBuf, source: io::Error },
    #[error("cannot read the image {path}")]
    ReadImage { path: PathBuf, source: io::Error },
    #[error("{program} failed: {message}")]
    Tool { program: &'static str, message: String },
    #[error("cannot use the tools tree")]
    Tools(#[from] sandbox::SandboxError),
    #[error("cannot run {0}")]
    Run(&'static str, #[source] io::Error),
    #[error("cannot forward port {port} of 127.0.0.1 to {node}: the port is in use")]
    Port { port: u16, node: String, source: io::Error },
    #[error("{path} has only {free_mib} MiB free; a node needs {need_mib}")]
    Full { path: PathBuf, free_mib: u64, need_mib: u64 },
    #[error(
        "{0}, the backing image of the disk, does not exist any more; recreate the machine (keelson destroy)"
    )]
    Image(PathBuf),
    #[error("{0}, the /usr of the machine, does not exist any more: a newer build has removed it")]
    Usr(PathBuf),
    #[error("nspawn needs root for mounts and network namespaces (use sudo, or --on qemu)")]
    Root,
    #[error("{program} exited immediately: {message} (log: {log})")]
    Ended { program: &'static str, message: String, log: PathBuf },
    #[error("cannot remove the node's control group")]
    Group { source: io::Error },
    #[error("disk faults are not supported for containers")]
    NoDisk,
    #[error("cannot control QEMU")]
    Qmp(#[from] QmpError),
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// Space that must be free in the cluster's folder before a node is created.
pub const NODE_SPACE_MIB: u64 = 512;

/// Fails if there is not enough space for a node.
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

/// Fails with the first port that is in use.
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

/// A free port of 127.0.0.1: `preferred` if it is free.
pub fn free_port(preferred: u16) -> io::Result<u16> {
    if preferred != 0 && TcpListener::bind((Ipv4Addr::LOCALHOST, preferred)).is_ok() {
        return Ok(preferred);
    }
    Ok(loopback_port::reserve()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ClusterSpec, Forward, tests::image};

    #[test]
    fn a_port_in_use_is_reported_and_replaced_for_ssh() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(free_port(port).unwrap(), port);
        let mut node = Cluster::new("a", &ClusterSpec::default(), image()).nodes.remove(0);
        node.forwards = vec![Forward { host: port, guest: 80 }];
        let error = check_ports(&node).unwrap_err().to_string();
        assert_eq!(error, format!("cannot forward port {port} of 127.0.0.1 to core-01: the port is in use"));
        drop(taken);
        check_ports(&node).unwrap();
    }
}
