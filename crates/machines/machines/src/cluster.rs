//! The state of a cluster: its nodes, their addresses and their processes.
//!
//! Pure data: `store` persists it and the back ends act on it.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::image::Image;
use crate::limits;
use crate::process::Process;
use crate::ready::Ready;

pub use crate::cluster_spec::{
    BackendKind, ClusterSpec, ClusterSpecError, Datasource, Forward, HOST_NAME, Hardware, SharedFolder,
};

/// Version of the state file's format.
pub const FORMAT: u32 = 1;
/// The LAN that a cluster's nodes share.
pub const LAN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 0);
pub const LAN_PREFIX: u8 = 24;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    /// MAC address on the LAN.
    pub mac: String,
    pub address: Ipv4Addr,
    pub uuid: String,
    /// Port of 127.0.0.1 that is forwarded to the node's sshd; 0 until the first start.
    pub ssh_port: u16,
    pub memory_mib: u32,
    pub cpus: u32,
    pub forwards: Vec<Forward>,
    pub process: Option<Process>,
    /// Raw image that the node's disk is an overlay of.
    pub made_from: Option<PathBuf>,
}

/// An etcd discovery URL and the service behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    pub url: String,
    /// Port of 127.0.0.1; 0 for an external service.
    pub port: u16,
    pub process: Option<Process>,
}

/// A kernel that QEMU loads itself, in place of a disk's boot loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectBoot {
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    /// The kernel command line.
    pub arguments: String,
}

/// The network boot of a machine, from the LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkFirmware {
    /// A BIOS, with iPXE in the adapter's ROM.
    Bios,
    /// UEFI's PXE.
    Pxe,
    /// UEFI's HTTP boot.
    Http,
}

/// A medium that a machine boots before its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Medium {
    /// ISO image.
    pub file: PathBuf,
    pub drive: MediumDrive,
    /// The machine's firmware is BIOS: it boots no disk.
    pub bios: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediumDrive {
    CdRom,
    Usb,
}

/// What a QEMU node starts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootSource {
    #[default]
    Disk,
    Kernel(DirectBoot),
    /// What the network offers; without an offer the disk.
    Network(NetworkFirmware),
    Medium(Medium),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub format: u32,
    pub name: String,
    pub backend: BackendKind,
    pub datasource: Datasource,
    pub image: Image,
    pub nodes: Vec<Node>,
    pub lan: Option<Process>,
    /// Ports of the host's loopback that nodes reach at [`HOST_NAME`].
    #[serde(default)]
    pub services: Vec<u16>,
    /// How the etcd members find each other; `None` until a node first starts.
    #[serde(default)]
    pub discovery: Option<Discovery>,
    /// Default update server of the nodes: `http://HOST/v1/update/`.
    #[serde(default)]
    pub update_server: Option<String>,
    /// QEMU nodes get the registration token of the update server.
    #[serde(default)]
    pub registration: bool,
    /// etcd uses TLS with certificates of the cluster's own authority.
    #[serde(default)]
    pub tls: bool,
    /// Secure Boot, active once a machine has enrolled its image's keys.
    #[serde(default)]
    pub secure_boot: bool,
    /// Devices of QEMU nodes.
    #[serde(default)]
    pub hardware: Hardware,
    /// GiB of the second disk of each QEMU node.
    #[serde(default)]
    pub spare_disk_gib: Option<u32>,
    /// Nodes reach the host's networks and name servers.
    #[serde(default)]
    pub outbound: bool,
    #[serde(default)]
    pub shared: Vec<SharedFolder>,
    #[serde(default)]
    pub boot_source: BootSource,
    #[serde(default, rename = "qemu_words")]
    pub qemu_arguments: Vec<String>,
}

impl Cluster {
    #[must_use]
    pub fn new(name: &str, spec: &ClusterSpec, image: Image) -> Self {
        let (backend, datasource) = (spec.backend, spec.datasource);
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
            registration: false,
            tls: spec.tls,
            secure_boot: spec.secure_boot,
            hardware: spec.hardware,
            spare_disk_gib: spec.spare_disk_gib,
            outbound: spec.outbound,
            shared: vec![],
            boot_source: BootSource::Disk,
            qemu_arguments: vec![],
        };
        cluster.grow(spec);
        cluster
    }

    /// Adds the nodes that `spec` has in excess. Existing nodes keep their settings, except for shared folders, the
    /// uplink and QEMU arguments, which take effect at the next start.
    pub fn grow(&mut self, spec: &ClusterSpec) {
        self.outbound = spec.outbound;
        self.shared.clone_from(&spec.shared);
        self.qemu_arguments.clone_from(&spec.qemu_arguments);
        for index in self.nodes.len()..spec.nodes {
            self.nodes.push(Node::new(&self.name, index, spec));
        }
    }

    /// Ports of the host's loopback that nodes reach at [`HOST_NAME`]: the services, and an update server there.
    #[must_use]
    pub fn offered_ports(&self) -> Vec<u16> {
        let server = self.update_server.as_deref().and_then(port_of_host);
        let mut ports: Vec<u16> = self.services.iter().copied().chain(server).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    pub fn node_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.name == name)
    }
}

/// The port of a URL whose host is [`HOST_NAME`].
fn port_of_host(url: &str) -> Option<u16> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.strip_prefix(HOST_NAME)? {
        "" => Some(if scheme == "https" { 443 } else { 80 }),
        port => port.strip_prefix(':')?.parse().ok(),
    }
}

impl Node {
    fn new(cluster: &str, index: usize, spec: &ClusterSpec) -> Self {
        // invariant: ClusterSpec::check bounds index by NODES_MAX, so the sum fits a byte.
        let host = u8::try_from(index).unwrap_or(u8::MAX).saturating_add(limits::FIRST_HOST);
        let [a, b, c, _] = LAN.octets();
        let mark = fnv(cluster);
        let name = format!("{}-{:02}", spec.name_prefix, index + 1);
        // The first eight digits are the short machine id: they must be unique.
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
            memory_mib: spec.memory_mib,
            cpus: spec.cpus,
            forwards: Forward::of_node(&spec.forwards, index),
            process: None,
            made_from: None,
        }
    }
}

/// FNV-1a. Distinguishes MAC addresses and control groups of clusters; not cryptographic.
pub(crate) fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// State of a node, as `keelson status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    Stopped,
    /// The process runs; no readiness report yet.
    Starting,
    Ready,
    /// Running, with failed units.
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    pub name: String,
    pub state: NodeState,
    pub address: Ipv4Addr,
    pub ssh: Option<Endpoint>,
    pub version: Option<String>,
    /// Build profile of the image's programs: `node` for release builds, `quick`.
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
    fn an_update_server_of_the_host_is_offered() {
        let mut cluster = Cluster::new("a", &ClusterSpec::default(), image());
        let mut check = |server: &str, expect: &[u16]| {
            cluster.services = vec![4001, 4001];
            cluster.update_server = Some(server.to_owned());
            assert_eq!(cluster.offered_ports(), expect, "{server}");
        };
        check("http://host.keelson:8041/v1/update/", &[4001, 8041]);
        check("https://host.keelson/v1/update/", &[443, 4001]);
        check("http://host.keelson", &[80, 4001]);
        check("http://host.keelson.example.net:8041/v1/update/", &[4001]);
        check("https://updates.example.net:8041/v1/update/", &[4001]);
    }

    #[test]
    fn names_and_addresses_are_stable_and_grow() {
        let mut cluster =
            Cluster::new("default", &ClusterSpec { nodes: 2, ..ClusterSpec::default() }, image());
        let before = cluster.nodes.clone();
        cluster.grow(&ClusterSpec { nodes: 3, memory_mib: 2048, ..ClusterSpec::default() });
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
        let other = Cluster::new("other", &ClusterSpec::default(), image());
        assert_ne!(other.nodes[0].mac, cluster.nodes[0].mac);
        let wide = Cluster::new(
            "wide",
            &ClusterSpec { nodes: limits::NODES_MAX, ..ClusterSpec::default() },
            image(),
        );
        let mut prefixes: Vec<_> = wide.nodes.iter().map(|node| node.uuid[..8].to_owned()).collect();
        prefixes.sort();
        prefixes.dedup();
        assert_eq!(prefixes.len(), limits::NODES_MAX, "by eight digits they are told apart");
        assert!(wide.nodes.iter().all(|node| node.uuid.len() == 36));
    }
}
