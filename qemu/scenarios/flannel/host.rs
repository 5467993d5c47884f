//! Machines with a lease, each with a container.

use std::time::Duration;

use machines::machine::Machine;

use super::super::kv::SOON;
use crate::failure::{Failure, expect};

/// Not enabled: a boot would wait for it, and it might start before cloud-config writes its settings.
pub const START: &str = "sudo systemctl start --no-block flanneld.service";

/// What differs between backends.
pub struct Backend {
    /// `Type` of the configuration.
    pub kind: &'static str,
    /// flanneld's device.
    pub device: Option<&'static str>,
    /// MTU of the containers.
    pub mtu: u32,
    /// Packets pass without the daemon.
    pub in_kernel: bool,
}

pub const VXLAN: Backend = Backend { kind: "vxlan", device: Some("flannel.1"), mtu: 1450, in_kernel: true };

/// Limit for the first lease: the store's cluster forms meanwhile.
pub const LEASED: Duration = Duration::from_secs(300);

/// The tutorial's.
pub const NETWORK: &str = "10.1.0.0/16";

/// A bridge with the first address of the machine's subnet, and a network namespace on it as container: what Docker
/// makes of the subnet file.
const CONTAINER: &str = "\
set -eu
. /run/flannel/subnet.env
address=${FLANNEL_SUBNET%/*}
if ip netns pids container 2>/dev/null; then
    # With the namespace the kernel removes it some time later.
    ip link delete port0
    ip netns delete container
    ip link delete bridge0
fi
ip link add name bridge0 mtu $FLANNEL_MTU type bridge
ip address add $FLANNEL_SUBNET dev bridge0
ip link set bridge0 up
ip netns add container
ip link add name port0 mtu $FLANNEL_MTU type veth peer name eth0 mtu $FLANNEL_MTU netns container
ip link set port0 master bridge0 up
ip -n container link set lo up
ip -n container address add ${address%.*}.2/${FLANNEL_SUBNET#*/} dev eth0
ip -n container link set eth0 up
ip -n container route add default via $address
";

/// A machine with its subnet.
pub struct Host<'a> {
    pub machine: Machine<'a>,
    /// The lease's key: `10.1.34.0-24`.
    pub key: String,
    /// The container's address.
    pub container: String,
}

/// Waits for the lease of a machine, and starts a container.
pub fn lease<'a>(machine: Machine<'a>, backend: &Backend, network: &str) -> Result<Host<'a>, Failure> {
    let base = subnet_of(&machine, backend, network)?;
    start_container(&machine)?;
    Ok(Host { machine, key: format!("{base}.0-24"), container: format!("{base}.2") })
}

/// Waits for the lease of a machine, and compares its files; returns the first three bytes of its addresses.
pub fn subnet(machine: &Machine<'_>, backend: &Backend) -> Result<String, Failure> {
    subnet_of(machine, backend, NETWORK)
}

fn subnet_of(machine: &Machine<'_>, backend: &Backend, network: &str) -> Result<String, Failure> {
    let mtu = backend.mtu;
    machine.wait_for_unit("flanneld.service", LEASED)?;
    let file = machine.read("/run/flannel/subnet.env")?;
    let subnet = file.lines().find_map(|line| line.strip_prefix("FLANNEL_SUBNET=")).unwrap_or_default();
    let base = subnet.trim_end_matches(".1/24").to_owned();
    let expected = format!(
        "FLANNEL_NETWORK={network}\nFLANNEL_SUBNET={base}.1/24\nFLANNEL_MTU={mtu}\nFLANNEL_IPMASQ=true\n"
    );
    expect(file == expected, &format!("the subnet file {expected:?}"), &file)?;
    machine.wait_for_unit("flannel-docker-opts.service", SOON)?;
    let options = machine.read("/run/flannel/flannel_docker_opts.env")?;
    let expected = format!(
        "DOCKER_OPT_BIP=\"--bip={base}.1/24\"\nDOCKER_OPT_IPMASQ=\"--ip-masq=false\"\nDOCKER_OPT_MTU=\"--mtu={mtu}\"\n"
    );
    expect(options == expected, &format!("Docker's options {expected:?}"), &options)?;
    Ok(base)
}

/// Starts a container, also in place of another one.
pub fn start_container(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.write("/tmp/container", CONTAINER.as_bytes())?;
    machine.succeed("sudo sh /tmp/container").map(drop).map_err(Failure::from)
}

/// Each container reaches each other one, and sees its address as the source.
pub fn all_pairs(hosts: &[Host<'_>]) -> Result<(), Failure> {
    for from in hosts {
        for to in hosts {
            let ping = format!("sudo ip netns exec container ping -c 1 -W 5 {}", to.container);
            from.machine.wait_until_succeeds(&ping, SOON)?;
        }
    }
    Ok(())
}
