//! What the back end tells a node's keeper, and what the keeper tells back: two files of the node's folder.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use nix::libc;
use serde::{Deserialize, Serialize};

use crate::cluster::{Forward, SharedFolder};
use crate::process::Process;
use crate::store::read_limited;

/// systemd's signal for an immediate reboot, above SIGRTMIN.
const REBOOT_NOW: i32 = 15;

/// All that a keeper has to know; written by the back end, read by the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodePlan {
    /// As the host knows it: no other container has this name.
    pub machine: String,
    /// As the node knows itself before it is told its name.
    pub host_name: String,
    /// Name of its control group.
    pub group: String,
    pub uuid: String,
    pub mac: String,
    pub address: Ipv4Addr,
    pub tree: PathBuf,
    /// Folder of the `/etc` overlay's upper and work directories.
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
    /// Credentials that stand in files.
    pub secrets: Vec<(String, PathBuf)>,
    /// Ports of the host's loopback that the node has at its name for the host.
    pub services: Vec<u16>,
    pub shared: Vec<SharedFolder>,
}

impl NodePlan {
    /// The folder that holds all that is the node's: its root, its credentials, what it shares with the host.
    #[must_use]
    pub fn folder(&self) -> &Path {
        // invariant: the tree is a folder of the node's.
        self.tree.parent().unwrap_or(&self.tree)
    }

    /// Where the keeper shows the shared folder with that number.
    #[must_use]
    pub fn shown(&self, place: usize) -> PathBuf {
        self.folder().join("shared").join(place.to_string())
    }
}

/// The running nspawn; the guest's first process is its child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    pub nspawn: Process,
}

impl Guest {
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&read_limited(path, 4096).ok()?).ok()
    }

    fn init(self) -> Option<i32> {
        let pid = self.nspawn.pid;
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_ascii_whitespace().next()?.parse().ok()
    }

    /// Kills the guest's first process and with it all of the guest.
    pub fn kill(self) -> io::Result<()> {
        self.send(libc::SIGKILL)
    }

    pub fn reset(self) -> io::Result<()> {
        self.send(libc::SIGRTMIN() + REBOOT_NOW)
    }

    fn send(self, signal: i32) -> io::Result<()> {
        let Some(init) = self.init().filter(|_| self.nspawn.alive()) else { return Ok(()) };
        // SAFETY: kill takes two integers. nix has no type for real-time signals.
        match unsafe { libc::kill(init, signal) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
