//! A container and a machine of another network try the cluster's ports: through the store, either could start units
//! on every machine, which run as root. The other network also opens SSH connections.

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::fleet::{self, cluster};
use super::super::kv::SOON;
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const CLUSTER_PORTS: Scenario = Scenario {
    name: "attack-cluster-ports",
    about: "containers and other networks do not reach the cluster's ports, unless the operator opens them",
    nodes: 2,
    long_on: &[Qemu],
    user_data: Some(fleet::TUTORIAL),
    run: cluster_ports,
    ..DEFAULTS
};

const TCP_PORTS: [u16; 4] = [2379, 4001, 2380, 7001];
/// fleetd's `partition_port`.
const UDP_PORT: u16 = 49154;
const QUERY: &str = "/tmp/query";
const FORGED_QUERY: &str = "/tmp/forged-query";
/// The machine's address on another network, and that of its neighbour there, which is a network namespace.
const OTHER_NETWORK: &str = "192.0.2.1";
const LATE_ADDRESS: &str = "192.0.2.3";
const NEIGHBOUR: &str = "sudo ip netns exec neighbour";
const DOCKER_BRIDGE: &str = "172.17.0.1";
/// Where etcd of the tutorials of 2015 listens.
const LISTEN_EVERYWHERE: &str = "sudo mkdir -p /run/systemd/system/etcd.service.d && printf '[Service]\\n\
    Environment=ETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:2379,http://0.0.0.0:4001\\n\
    Environment=ETCD_LISTEN_PEER_URLS=http://0.0.0.0:2380,http://0.0.0.0:7001\\n' \
    | sudo tee /run/systemd/system/etcd.service.d/90-listen.conf && \
    sudo systemctl daemon-reload && sudo systemctl restart etcd.service";
const OPEN: &str = "echo 'add element inet keelson trusted_interfaces { \"docker0\" }' \
    | sudo tee /etc/nftables.d/docker.nft";
const OPEN_WRONGLY: &str = "echo 'add element inet keelson trusted_interfaces { docker0 ' \
    | sudo tee /etc/nftables.d/docker.nft";
const FIREWALL_FAILED: &str = "systemctl is-failed keelson-firewall.service";

fn cluster_ports(context: &Context<'_>) -> Result<(), Failure> {
    cluster::form(context)?;
    let (target, member) = (context.machine(1), context.machine(2));
    let address = target.node()?.address.to_string();
    target.succeed(&format!(
        "sudo sh -ec 'ip netns add neighbour; ip link add other0 type veth peer name eth0 netns neighbour; \
         ip address add {OTHER_NETWORK}/24 dev other0; ip link set other0 up; \
         ip -n neighbour address add 192.0.2.2/24 dev eth0; ip -n neighbour link set eth0 up; \
         ip -n neighbour route add default via {OTHER_NETWORK}'"
    ))?;
    // The network between them works.
    target.wait_until_succeeds(&connect(NEIGHBOUR, &address, 22), SOON)?;
    // A container runs: Docker's socket serves before the node's images are loaded.
    target.succeed("sudo systemctl start docker.service && sudo docker run --rm busybox true")?;
    let addresses = [address.as_str(), OTHER_NETWORK, DOCKER_BRIDGE];
    for configured in ["true", LISTEN_EVERYWHERE] {
        target.succeed(configured)?;
        cluster::wait_for_cluster(context)?;
        for port in TCP_PORTS {
            member.succeed(&connect("", &address, port))?;
            target.succeed(&connect("", "127.0.0.1", port))?;
            for address in addresses {
                target.fail(&connect(NEIGHBOUR, address, port))?;
            }
        }
        let id = target.succeed("cat /etc/machine-id")?;
        for machine in [&member, &target] {
            machine.succeed(&write_query(id.trim()))?;
        }
        member.succeed(&send_query("", &address, QUERY))?;
        // A valid one from another network, and one without the cluster's key.
        target.fail(&send_query(NEIGHBOUR, &address, QUERY))?;
        member.fail(&send_query("", &address, FORGED_QUERY))?;
        let member_address = member.node()?.address.to_string();
        // The last one by way of this machine, as whose traffic it arrives there.
        for address in addresses.into_iter().chain([member_address.as_str()]) {
            target.fail(&read_keys(address))?;
        }
        target.succeed(&connect("", &member_address, TCP_PORTS[0]))?;
    }
    ssh_connections(&target, &member, &address)?;
    additions(&target, &member, &address)?;
    late_address(&target)
}

/// One source does not take all connections of the SSH server.
fn ssh_connections(target: &Machine<'_>, member: &Machine<'_>, address: &str) -> Result<(), Failure> {
    target.succeed(&format!(
        "sudo systemd-run --quiet --unit=connections ip netns exec neighbour bash -c \
         'for number in {{1..70}}; do exec {{connection}}<>/dev/tcp/{address}/22; done; touch /run/connected; sleep 60'"
    ))?;
    target.wait_until_succeeds("test -e /run/connected", SOON)?;
    let banner = format!("timeout 20 bash -c 'head --bytes=4 </dev/tcp/{address}/22' | grep SSH-");
    member.wait_until_succeeds(&banner, SOON)?;
    target.succeed("sudo systemctl stop connections.service").map(drop).map_err(Failure::from)
}

/// What the operator opens is open from then on, and closed when the file is gone; a file with an error opens nothing.
fn additions(target: &Machine<'_>, member: &Machine<'_>, address: &str) -> Result<(), Failure> {
    target.succeed(OPEN)?;
    target.wait_until_succeeds(&read_keys(DOCKER_BRIDGE), SOON)?;
    target.succeed(&read_keys(&member.node()?.address.to_string()))?;
    target.succeed(OPEN_WRONGLY)?;
    target.wait_until_succeeds(FIREWALL_FAILED, SOON)?;
    target.fail(&read_keys(DOCKER_BRIDGE))?;
    member.succeed(&connect("", address, TCP_PORTS[0]))?;
    let reason = target.succeed("journalctl -b -u keelson-firewall.service -o cat")?;
    expect(reason.contains("/etc/nftables.d/docker.nft: not loaded"), "the file with the error", &reason)?;
    target.succeed("sudo rm /etc/nftables.d/docker.nft")?;
    target.wait_until_succeeds(&format!("! {FIREWALL_FAILED}"), SOON)?;
    target.fail(&read_keys(DOCKER_BRIDGE))?;
    member.succeed(&connect("", address, TCP_PORTS[0]))?;
    // Other rules were replaced: those of the cluster are complete after the next load.
    target.succeed("sudo nft flush ruleset && sudo systemctl start keelson-firewall.service")?;
    member.succeed(&connect("", address, TCP_PORTS[0]))?;
    // Its rules are gone, too.
    target.succeed("sudo systemctl restart docker.service").map(drop).map_err(Failure::from)
}

/// A slow network: the address of the configuration appears after etcd has started.
fn late_address(target: &Machine<'_>) -> Result<(), Failure> {
    target.succeed(&format!(
        "sudo env ETCD_ADDR={LATE_ADDRESS}:4001 /usr/lib/keelson/keelson-cluster-addresses"
    ))?;
    target.succeed(&format!("sudo ip address add {LATE_ADDRESS}/24 dev other0"))?;
    target.succeed(&connect(NEIGHBOUR, LATE_ADDRESS, TCP_PORTS[0]))?;
    target.fail(&connect(NEIGHBOUR, OTHER_NETWORK, TCP_PORTS[0]))?;
    target.fail(&read_keys(LATE_ADDRESS))?;
    Ok(())
}

/// A TCP connection from `place`, a command prefix.
fn connect(place: &str, address: &str, port: u16) -> String {
    format!("{place} timeout 5 bash -c '</dev/tcp/{address}/{port}'")
}

/// Queries of a fleetd to the machine `id`, as files: one that the cluster's key authenticates, and one of another key.
fn write_query(id: &str) -> String {
    let query = format!("fleet3?12345678{id}");
    let tag = format!("printf {query} | openssl dgst -sha256 -mac HMAC -binary -macopt");
    format!(
        "key=$(etcdctl get /_coreos.com/fleet/fence/key | base64 -d | od -An -vtx1 | tr -d ' \\n') && \
         {{ printf {query}; {tag} hexkey:$key | head -c 16; }} > {QUERY} && \
         {{ printf {query}; {tag} hexkey:00 | head -c 16; }} > {FORGED_QUERY}"
    )
}

/// Succeeds if the query gets a response. A datagram is one write.
fn send_query(place: &str, address: &str, query: &str) -> String {
    let send = format!("exec 3<>/dev/udp/{address}/{UDP_PORT}; cat {query} >&3");
    format!("{place} timeout 5 bash -c '{send}; head -c 6 <&3' | grep -q fleet3")
}

/// The attack as a container makes it.
fn read_keys(address: &str) -> String {
    format!("sudo docker run --rm busybox wget -q -T 5 -O - http://{address}:2379/v2/keys")
}
