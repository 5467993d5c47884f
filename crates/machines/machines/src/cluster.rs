//! A cluster as a value: its nodes, where they answer, and which processes they are.
//!
//! Nothing here touches a file or a process; `store` keeps the value, the back ends make it true.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::image::Image;
use crate::limits;
use crate::process::Process;
use crate::ready::Ready;

pub use crate::wish::{BackendKind, Datasource, Forward, HOST_NAME, SharedFolder, Wish, WishError};

/// Version of the state file's shape.
pub const FORMAT: u32 = 1;
/// The LAN that the nodes of a cluster share.
pub const LAN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 0);
pub const LAN_PREFIX: u8 = 24;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    /// Hardware address on the LAN.
    pub mac: String,
    /// Address on the LAN.
    pub address: Ipv4Addr,
    pub uuid: String,
    /// Port of 127.0.0.1 that leads to the node's sshd; 0 until it first starts.
    pub ssh_port: u16,
    pub memory_mib: u32,
    pub cpus: u32,
    pub forwards: Vec<Forward>,
    pub process: Option<Process>,
    /// The raw image that the node's disk is an overlay of.
    pub made_from: Option<PathBuf>,
}

/// A discovery token of etcd, and the service that keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    pub url: String,
    /// Port of 127.0.0.1; 0 where the service is somebody else's.
    pub port: u16,
    pub process: Option<Process>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub format: u32,
    pub name: String,
    pub backend: BackendKind,
    pub datasource: Datasource,
    pub image: Image,
    pub nodes: Vec<Node>,
    /// The process that is the LAN's switch.
    pub lan: Option<Process>,
    /// Ports of the host's loopback that nodes reach at [`HOST_NAME`].
    #[serde(default)]
    pub services: Vec<u16>,
    /// Where the members of the key-value store meet; none until a node first starts.
    #[serde(default)]
    pub discovery: Option<Discovery>,
    /// Where nodes ask for updates that were told nothing else: `http://HOST/v1/update/`.
    #[serde(default)]
    pub update_server: Option<String>,
    /// The key-value store speaks TLS, with certificates of the cluster's own authority.
    #[serde(default)]
    pub tls: bool,
    /// The firmware runs only what is signed, once a machine has taken its image's keys.
    #[serde(default)]
    pub secure_boot: bool,
    #[serde(default)]
    pub shared: Vec<SharedFolder>,
    #[serde(default)]
    pub qemu_words: Vec<String>,
}

impl Cluster {
    #[must_use]
    pub fn new(name: &str, wish: &Wish, image: Image) -> Self {
        let (backend, datasource) = (wish.backend, wish.datasource);
        let mut cluster = Self {
            format: FORMAT,
            name: name.to_owned(),
            backend,
            datasource,
            image,
            nodes: vec![],
            lan: None,
            services: vec![],
            discovery: None,
            update_server: None,
            tls: wish.tls,
            secure_boot: wish.secure_boot,
            shared: vec![],
            qemu_words: vec![],
        };
        cluster.grow(wish);
        cluster
    }

    /// Adds the nodes that are missing to what is wished; existing ones stay as they are, but for the shared
    /// folders, which each node has from its next start.
    pub fn grow(&mut self, wish: &Wish) {
        self.shared.clone_from(&wish.shared);
        self.qemu_words.clone_from(&wish.qemu_words);
        for index in self.nodes.len()..wish.nodes {
            self.nodes.push(Node::new(&self.name, index, wish));
        }
    }

    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    pub fn node_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.name == name)
    }
}

impl Node {
    fn new(cluster: &str, index: usize, wish: &Wish) -> Self {
        // invariant: Wish::check holds index below NODES_MAX, so both fit a byte.
        let host = u8::try_from(index).unwrap_or(u8::MAX).saturating_add(limits::FIRST_HOST);
        let [a, b, c, _] = LAN.octets();
        let mark = fnv(cluster);
        let name = format!("{}-{:02}", wish.name_prefix, index + 1);
        // Its beginning names the machine in what people type and read: no two may have it alike.
        let own = fnv(&format!("{name} of {cluster}"));
        Self {
            mac: format!("52:54:00:{:02x}:{:02x}:{host:02x}", mark & 0xff, (mark >> 8) & 0xff),
            address: Ipv4Addr::new(a, b, c, host),
            uuid: format!(
                "{:08x}-{:04x}-4{:03x}-8{:03x}-{mark:010x}{host:02x}",
                own >> 32,
                (own >> 16) & 0xffff,
                (own >> 4) & 0xfff,
                host,
                mark = mark & 0xff_ffff_ffff
            ),
            name,
            ssh_port: 0,
            memory_mib: wish.memory_mib,
            cpus: wish.cpus,
            forwards: Forward::of_node(&wish.forwards, index),
            process: None,
            made_from: None,
        }
    }
}

/// FNV-1a: tells two clusters' hardware addresses and groups apart. Not for anything that must be hard to guess.
pub(crate) fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What a node is doing, as `keelson status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// No process.
    Stopped,
    /// A process, and no word from the node yet.
    Starting,
    Ready,
    /// Up, with failed units.
    Degraded,
}

impl std::fmt::Display for NodeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
        })
    }
}

impl NodeState {
    #[must_use]
    pub fn of(alive: bool, ready: Option<&Ready>) -> Self {
        match (alive, ready) {
            (false, _) => Self::Stopped,
            (true, None) => Self::Starting,
            (true, Some(ready)) if ready.failed_units.is_empty() => Self::Ready,
            (true, Some(_)) => Self::Degraded,
        }
    }
}

/// A status report of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    pub name: String,
    pub state: NodeState,
    pub address: Ipv4Addr,
    pub ssh: Option<Endpoint>,
    pub version: Option<String>,
    /// How its image's programs were compiled: `node` for what is shipped, `quick`.
    pub profile: Option<String>,
    pub slot: Option<String>,
    pub pid: Option<i32>,
    pub failed_units: Vec<String>,
    #[serde(skip)]
    pub console: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    pub host: Ipv4Addr,
    pub port: u16,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn image() -> Image {
        Image {
            version: "1.0.0".into(),
            channel: "alpha".into(),
            raw: "/images/keelson.raw".into(),
            usr_tree: "/images/usr".into(),
            usr_erofs: "/images/usr.erofs".into(),
            tools: "/images/tools".into(),
        }
    }

    #[test]
    fn names_and_addresses_are_stable_and_grow() {
        let mut cluster = Cluster::new("default", &Wish { nodes: 2, ..Wish::default() }, image());
        let before = cluster.nodes.clone();
        cluster.grow(&Wish { nodes: 3, memory_mib: 2048, ..Wish::default() });
        assert_eq!(cluster.nodes[..2], before[..]);
        let names: Vec<_> = cluster.nodes.iter().map(|n| (n.name.as_str(), n.address.to_string())).collect();
        assert_eq!(
            names,
            [
                ("core-01", "10.77.0.11".to_owned()),
                ("core-02", "10.77.0.12".to_owned()),
                ("core-03", "10.77.0.13".to_owned())
            ]
        );
        assert_eq!(cluster.nodes[2].memory_mib, 2048);
        let other = Cluster::new("other", &Wish::default(), image());
        assert_ne!(other.nodes[0].mac, cluster.nodes[0].mac);
        let wide = Cluster::new("wide", &Wish { nodes: limits::NODES_MAX, ..Wish::default() }, image());
        let mut shown: Vec<_> = wide.nodes.iter().map(|node| node.uuid[..8].to_owned()).collect();
        shown.sort();
        shown.dedup();
        assert_eq!(shown.len(), limits::NODES_MAX, "by eight digits they are told apart");
        assert!(wide.nodes.iter().all(|node| node.uuid.len() == 36));
    }
}
