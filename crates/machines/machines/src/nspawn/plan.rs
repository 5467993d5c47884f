//! What the back end of nspawn nodes and their supervisors share: a node's plan, and the running guest.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use nix::libc;
use serde::{Deserialize, Serialize};

use super::user_namespace::IdRange;
use crate::cluster::{Forward, SharedFolder};
use crate::process::Process;

/// systemd's signal for an immediate reboot, as an offset to SIGRTMIN.
const REBOOT_NOW: i32 = 15;

/// The parameters of a supervisor, written by the back end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodePlan {
    /// Name of the node, for messages.
    pub node: String,
    /// Machine name on the host; unique among its containers.
    pub machine: String,
    /// Host name of the node until it is provisioned.
    pub host_name: String,
    pub group: String,
    pub uuid: String,
    pub mac: String,
    pub address: Ipv4Addr,
    pub tree: PathBuf,
    /// Folder of the upper and work directories of the `/etc` overlay.
    pub etc: PathBuf,
    pub usr_erofs: PathBuf,
    pub usr_tree: PathBuf,
    pub tools: PathBuf,
    pub config_drive: PathBuf,
    pub host: PathBuf,
    pub lan_socket: PathBuf,
    pub console_log: PathBuf,
    pub console_socket: PathBuf,
    pub guest: PathBuf,
    pub forwards: Vec<Forward>,
    pub credentials: Vec<(String, String)>,
    /// Credentials that are passed as files.
    pub secrets: Vec<(String, PathBuf)>,
    /// Ports of the host's loopback that the node reaches at the host's name.
    pub services: Vec<u16>,
    pub shared: Vec<SharedFolder>,
    /// Whether the node reaches the host's networks.
    pub outbound: bool,
    /// Without it, the node's root is the host's.
    pub user_namespace: Option<IdRange>,
}

impl NodePlan {
    /// The folder of the node's files: its root, its credentials, and what it shares with the host.
    #[must_use]
    pub fn folder(&self) -> &Path {
        // invariant: the tree is in the node's folder.
        self.tree.parent().unwrap_or(&self.tree)
    }

    /// Where the supervisor mounts a sysfs for the node.
    #[must_use]
    pub fn sysfs(&self) -> PathBuf {
        self.folder().join("sysfs")
    }

    #[must_use]
    pub fn etc_upper(&self) -> PathBuf {
        self.etc.join("upper")
    }

    #[must_use]
    pub fn etc_work(&self) -> PathBuf {
        self.etc.join("work")
    }

    /// Where the supervisor mounts the shared folder with this index.
    #[must_use]
    pub fn shared_mount_point(&self, index: usize) -> PathBuf {
        self.folder().join("shared").join(index.to_string())
    }
}

/// The guest's init, once nspawn has started it: its child.
pub fn init(nspawn: Process) -> Option<i32> {
    let pid = nspawn.pid;
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_ascii_whitespace().next()?.parse().ok()
}

/// Kills the guest's init and with it the whole guest.
pub fn kill(nspawn: Process) -> io::Result<()> {
    send(nspawn, libc::SIGKILL)
}

pub fn reset(nspawn: Process) -> io::Result<()> {
    send(nspawn, libc::SIGRTMIN() + REBOOT_NOW)
}

fn send(nspawn: Process, signal: i32) -> io::Result<()> {
    let Some(first) = init(nspawn).and_then(Process::of) else { return Ok(()) };
    let Some(descriptor) = first.descriptor()? else { return Ok(()) };
    // Checked after opening: the pid may have been reused before.
    let is_init = nspawn.alive() && init(nspawn) == Some(first.pid) && first.alive();
    if is_init { descriptor.send(signal) } else { Ok(()) }
}
