//! The manifest of a pod: everything that its start needs, so that `run-prepared` reads no flag again.

use oci_image::Digest;
use serde::{Deserialize, Serialize};

use crate::capabilities::Capabilities;
use crate::insecure::InsecureOptions;
use crate::network::{NetworkMode, PortForward};
use crate::uuid::Uuid;
use crate::volume::{Mount, Volume};

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodManifest {
    /// Its UUID.
    pub uuid: Uuid,
    /// When it was prepared: milliseconds since 1970.
    pub created: u64,
    /// In the order of the command line.
    pub apps: Vec<App>,
    /// By name.
    pub volumes: Vec<Volume>,
    /// The network.
    pub network: NetworkMode,
    /// Forwarded ports.
    pub ports: Vec<PortForward>,
    /// The host name; one from the UUID if it is not set.
    pub hostname: Option<String>,
    /// Resolvers.
    pub dns: Dns,
    /// Entries of `/etc/hosts`.
    pub hosts: Vec<HostsEntry>,
    /// Restrictions that are off.
    pub insecure: InsecureOptions,
    /// Whether the only app has the terminal and standard input.
    pub interactive: bool,
    /// rkt's stage1 "fly": apps with the host's network and without restrictions.
    pub fly: bool,
}

/// An app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Unique in the pod.
    pub name: String,
    /// The manifest's digest.
    pub image: Digest,
    /// As the user wrote it.
    pub image_name: String,
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// Names and values.
    pub environment: Vec<(String, String)>,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The working directory.
    pub directory: String,
    /// Volumes.
    pub mounts: Vec<Mount>,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// Bytes.
    pub memory: Option<u64>,
    /// Thousandths of a CPU.
    pub cpu: Option<u64>,
    /// The number of the signal that stops it.
    pub stop_signal: u8,
    /// Whether its root file system is read-only.
    pub read_only: bool,
    /// The kernel's `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
}

/// Resolvers of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Addresses; or `host` or `none` alone.
    pub servers: Vec<String>,
    /// Search domains.
    pub search: Vec<String>,
    /// Options.
    pub options: Vec<String>,
    /// The domain.
    pub domain: Option<String>,
}

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostsEntry {
    /// All entries of the host.
    Host,
    /// An address and a name.
    Address(String, String),
}

impl Dns {
    /// Whether the pod gets no `resolv.conf` but the image's.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.servers == ["none"]
    }

    /// Whether the pod gets the host's `resolv.conf`.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.servers == ["host"] || *self == Self::default()
    }

    /// The contents of `resolv.conf` for explicit settings.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for server in self.servers.iter().filter(|server| !["host", "none"].contains(&server.as_str())) {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if let Some(domain) = &self.domain {
            text.push_str(&format!("domain {domain}\n"));
        }
        if !self.search.is_empty() {
            text.push_str(&format!("search {}\n", self.search.join(" ")));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }
}

impl PodManifest {
    /// The host name.
    #[must_use]
    pub fn hostname(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| format!("rkt-{}", self.uuid))
    }

    /// The contents of `/etc/hosts`; `host` is the host's file.
    #[must_use]
    pub fn hosts_text(&self, host: &str) -> String {
        let mut text = String::from("127.0.0.1 localhost\n::1 localhost\n");
        text.push_str(&format!("127.0.0.1 {}\n", self.hostname()));
        for entry in &self.hosts {
            match entry {
                HostsEntry::Host => text.push_str(host),
                HostsEntry::Address(address, name) => text.push_str(&format!("{address} {name}\n")),
            }
        }
        text
    }

    /// The volume of a mount.
    #[must_use]
    pub fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.name == name)
    }
}
