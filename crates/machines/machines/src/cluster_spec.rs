//! The specification of a new cluster, validated before anything is created.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits;

/// Host name under which nodes reach the services that this host provides to the cluster.
pub const HOST_NAME: &str = "host.keelson";

/// Prints and parses values by their names.
macro_rules! named {
    ($kind:ident, $what:literal, $expected:literal, { $($value:ident => $name:literal),+ }) => {
        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self { $(Self::$value => $name),+ })
            }
        }

        impl std::str::FromStr for $kind {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok(Self::$value),)+
                    _ => Err(format!(concat!("unknown ", $what, " {} (expected ", $expected, ")"), text)),
                }
            }
        }
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    Qemu,
    Nspawn,
}

impl BackendKind {
    /// The address of [`HOST_NAME`] on a node: in QEMU the gateway of the user network, which maps to the
    /// loopback of its namespace; in a container a loopback address. The supervisor listens there.
    #[must_use]
    pub const fn host_address(self) -> Ipv4Addr {
        match self {
            Self::Qemu => Ipv4Addr::new(10, 0, 2, 2),
            Self::Nspawn => Ipv4Addr::new(127, 0, 2, 2),
        }
    }
}

named!(BackendKind, "back end", "qemu or nspawn", { Qemu => "qemu", Nspawn => "nspawn" });

/// How a node receives its user-data. Containers have a config drive instead of QEMU's devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Datasource {
    #[default]
    ConfigDrive,
    FwCfg,
    /// A NoCloud seed: a disk labelled `cidata`.
    NoCloud,
    /// From its platform: the host provides neither user-data nor a key.
    Platform,
}

named!(Datasource, "datasource", "config-drive, fw-cfg, nocloud or platform", {
    ConfigDrive => "config-drive", FwCfg => "fw-cfg", NoCloud => "nocloud", Platform => "platform"
});

/// Devices of a QEMU node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hardware {
    #[default]
    Virtio,
    /// AHCI and E1000.
    VirtualBox,
    /// Paravirtual SCSI and VMXNET3.
    Vmware,
    /// NVMe, with the names of an EC2 instance. QEMU has no Elastic Network Adapter.
    Ec2,
    /// virtio's SCSI, with the names of a Compute Engine instance.
    Gce,
}

named!(Hardware, "hardware", "virtio, virtualbox, vmware, ec2 or gce", {
    Virtio => "virtio", VirtualBox => "virtualbox", Vmware => "vmware", Ec2 => "ec2", Gce => "gce"
});

/// Forwards a port of the host's loopback to a port of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    pub host: u16,
    pub guest: u16,
}

impl Forward {
    /// The ports of node `index` (from 0), derived from those of the first node.
    #[must_use]
    pub fn of_node(first: &[Self], index: usize) -> Vec<Self> {
        let shift = u16::try_from(index).unwrap_or(u16::MAX);
        first.iter().map(|forward| Self { host: forward.host.saturating_add(shift), ..*forward }).collect()
    }
}

/// A host folder that is mounted in every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedFolder {
    pub host: PathBuf,
    /// Mount point in the node: an absolute path whose components contain only letters, digits and `._-+`.
    pub guest: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    pub nodes: usize,
    pub backend: BackendKind,
    pub name_prefix: String,
    pub memory_mib: u32,
    pub cpus: u32,
    pub datasource: Datasource,
    /// Ports of the first node. Node N+1 has the same host ports plus N.
    pub forwards: Vec<Forward>,
    pub shared: Vec<SharedFolder>,
    /// Nodes reach the host's networks and name servers. Without it QEMU nodes reach the networks only.
    pub outbound: bool,
    /// Enables TLS for etcd. Takes effect only when the cluster is created.
    pub tls: bool,
    /// Enables Secure Boot with the keys that the image provides. Takes effect only when the cluster is created.
    pub secure_boot: bool,
    /// Devices of QEMU nodes. Takes effect only when the cluster is created.
    pub hardware: Hardware,
    /// GiB of a second, empty disk of each QEMU node.
    pub spare_disk_gib: Option<u32>,
    /// Additional QEMU arguments, for tests of unusual machines.
    pub qemu_arguments: Vec<String>,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            nodes: 3,
            backend: BackendKind::Qemu,
            name_prefix: "core".to_owned(),
            memory_mib: limits::MEMORY_MIB,
            cpus: limits::CPUS,
            datasource: Datasource::ConfigDrive,
            forwards: Vec::new(),
            shared: Vec::new(),
            outbound: false,
            tls: false,
            secure_boot: false,
            hardware: Hardware::Virtio,
            spare_disk_gib: None,
            qemu_arguments: Vec::new(),
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ClusterSpecError {
    #[error("invalid number of nodes {0}: must be 1 to {max}", max = limits::NODES_MAX)]
    Nodes(usize),
    #[error("{0} MiB of memory is too little for a node: the minimum is {min} MiB", min = limits::MEMORY_MIN_MIB)]
    Memory(u32),
    #[error("invalid number of processors {0}: must be 1 to 64")]
    Cpus(u32),
    #[error("invalid node name prefix {0:?}: use letters, digits and - only, a letter first, at most {max} characters", max = limits::NAME_PREFIX_MAX)]
    Prefix(String),
    #[error(
        "invalid mount point {0:?} of a shared folder: use an absolute path of letters, digits and ._-+ only"
    )]
    Guest(String),
    #[error("host ports {0} and {1} overlap: each of {2} nodes uses the port of the previous node plus 1")]
    PortsMeet(u16, u16, usize),
    #[error("host port {0} is too high for {1} nodes: each uses the port of the previous node plus 1")]
    PortTooHigh(u16, usize),
    #[error("containers do not support Secure Boot (use --on qemu)")]
    SecureBoot,
    #[error("containers have no hardware of their own (use --on qemu)")]
    Hardware,
    #[error(
        "Secure Boot is not possible on hardware of {0}: its chipset does not protect the firmware's variables"
    )]
    SecureBootHardware(Hardware),
    #[error(
        "cluster {name} runs on {has}, not on {wanted}: use another cluster (--cluster), or keelson destroy first"
    )]
    Backend { name: String, has: BackendKind, wanted: BackendKind },
}

impl ClusterSpec {
    pub fn check(&self) -> Result<(), ClusterSpecError> {
        let prefix = self.name_prefix.as_str();
        let valid = prefix.starts_with(|c: char| c.is_ascii_lowercase())
            && prefix.len() <= limits::NAME_PREFIX_MAX
            && prefix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !valid {
            return Err(ClusterSpecError::Prefix(self.name_prefix.clone()));
        }
        if self.nodes == 0 || self.nodes > limits::NODES_MAX {
            return Err(ClusterSpecError::Nodes(self.nodes));
        }
        if self.memory_mib < limits::MEMORY_MIN_MIB {
            return Err(ClusterSpecError::Memory(self.memory_mib));
        }
        if self.cpus == 0 || self.cpus > 64 {
            return Err(ClusterSpecError::Cpus(self.cpus));
        }
        if self.secure_boot && self.backend == BackendKind::Nspawn {
            return Err(ClusterSpecError::SecureBoot);
        }
        if self.hardware != Hardware::Virtio {
            if self.backend == BackendKind::Nspawn {
                return Err(ClusterSpecError::Hardware);
            }
            if self.secure_boot {
                return Err(ClusterSpecError::SecureBootHardware(self.hardware));
            }
        }
        self.check_forwards()?;
        self.shared.iter().try_for_each(SharedFolder::check)
    }

    /// Node N+1 has the ports of the first node plus N.
    fn check_forwards(&self) -> Result<(), ClusterSpecError> {
        let mut hosts: Vec<u16> = self.forwards.iter().map(|forward| forward.host).collect();
        hosts.sort_unstable();
        if let Some(high) = hosts.iter().find(|host| usize::from(u16::MAX - **host) < self.nodes - 1) {
            return Err(ClusterSpecError::PortTooHigh(*high, self.nodes));
        }
        match hosts.windows(2).find(|pair| usize::from(pair[1] - pair[0]) < self.nodes) {
            Some(pair) => Err(ClusterSpecError::PortsMeet(pair[0], pair[1], self.nodes)),
            None => Ok(()),
        }
    }
}

impl SharedFolder {
    /// The guest path becomes a field of fstab and an argument of nspawn, so it must contain no characters that are
    /// special there.
    fn check(&self) -> Result<(), ClusterSpecError> {
        let is_valid_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
        let is_valid_component =
            |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(is_valid_byte);
        let valid = self.guest.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_valid_component));
        if valid { Ok(()) } else { Err(ClusterSpecError::Guest(self.guest.clone())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_specs_are_rejected_with_the_field() {
        let check = |spec: ClusterSpec, expect| assert_eq!(spec.check(), expect);
        check(ClusterSpec::default(), Ok(()));
        check(ClusterSpec { nodes: 0, ..ClusterSpec::default() }, Err(ClusterSpecError::Nodes(0)));
        check(ClusterSpec { nodes: 233, ..ClusterSpec::default() }, Err(ClusterSpecError::Nodes(233)));
        check(ClusterSpec { memory_mib: 64, ..ClusterSpec::default() }, Err(ClusterSpecError::Memory(64)));
        let secure = |backend| ClusterSpec { backend, secure_boot: true, ..ClusterSpec::default() };
        check(secure(BackendKind::Qemu), Ok(()));
        check(secure(BackendKind::Nspawn), Err(ClusterSpecError::SecureBoot));
        let hardware = Hardware::VirtualBox;
        check(ClusterSpec { hardware, ..ClusterSpec::default() }, Ok(()));
        let on = BackendKind::Nspawn;
        let container = ClusterSpec { hardware, backend: on, ..ClusterSpec::default() };
        check(container, Err(ClusterSpecError::Hardware));
        let secured = ClusterSpec { hardware, ..secure(BackendKind::Qemu) };
        check(secured, Err(ClusterSpecError::SecureBootHardware(hardware)));
        let prefix = |text: &str| ClusterSpec { name_prefix: text.into(), ..ClusterSpec::default() };
        check(prefix("../x"), Err(ClusterSpecError::Prefix("../x".into())));
        check(prefix(""), Err(ClusterSpecError::Prefix(String::new())));
        check(prefix("web"), Ok(()));
        let forwards = |nodes, ports: &[(u16, u16)]| {
            let forwards = ports.iter().map(|(host, guest)| Forward { host: *host, guest: *guest }).collect();
            ClusterSpec { nodes, forwards, ..ClusterSpec::default() }
                .check()
                .map_err(|error| error.to_string())
        };
        assert_eq!(forwards(3, &[(8080, 80), (8443, 443)]), Ok(()));
        assert_eq!(forwards(1, &[(8080, 80), (8081, 81)]), Ok(()));
        let both =
            "host ports 8080 and 8081 overlap: each of 2 nodes uses the port of the previous node plus 1";
        assert_eq!(forwards(2, &[(8080, 80), (8081, 81)]), Err(both.to_owned()));
        let last = "host port 65534 is too high for 3 nodes: each uses the port of the previous node plus 1";
        assert_eq!(forwards(3, &[(65534, 80)]), Err(last.to_owned()));
        let shared = |guest: &str| ClusterSpec {
            shared: vec![SharedFolder { host: "/tmp".into(), guest: guest.into() }],
            ..ClusterSpec::default()
        };
        check(shared("/home/core/share.d"), Ok(()));
        for bad in ["share", "/", "/a/../b", "/a b", "/a,b", "/a:b", "/a\n"] {
            check(shared(bad), Err(ClusterSpecError::Guest(bad.into())));
        }
    }
}
