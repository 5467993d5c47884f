//! flannel: containers of three machines reach each other by their own addresses.

mod configuration;
mod docker;
mod host;
mod names;

use std::time::Duration;

use machines::cluster::BackendKind::{Nspawn, Qemu};

use self::host::{Backend, Host, NETWORK, all_pairs, lease, start_container};
use super::kv::{NODES, SOON};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub use docker::{DOCKER, DOCKER_FIRST};
pub use host::{LEASED, START, VXLAN, subnet};

pub const FLANNEL: Scenario = Scenario {
    name: "flannel",
    about: "containers of three machines reach each other over vxlan while daemons, stores and machines come and go",
    nodes: NODES,
    user_data: Some(USER_DATA),
    long_on: &[Qemu],
    run: |context| flannel(context, &VXLAN),
    ..DEFAULTS
};

pub const HOST_GW: Scenario = Scenario {
    name: "flannel-host-gw",
    about: "the same without encapsulation",
    nodes: NODES,
    user_data: Some(WITHOUT_CONFIGURATION),
    on: &[Nspawn],
    long_on: &[Nspawn],
    run: |context| flannel(context, &Backend { kind: "host-gw", device: None, mtu: 1500, in_kernel: true }),
    ..DEFAULTS
};

pub const UDP: Scenario = Scenario {
    name: "flannel-udp",
    about: "the same with packets that flanneld itself carries",
    nodes: NODES,
    user_data: Some(WITHOUT_CONFIGURATION),
    on: &[Nspawn],
    long_on: &[Nspawn],
    run: |context| {
        flannel(context, &Backend { kind: "udp", device: Some("flannel0"), mtu: 1472, in_kernel: false })
    },
    ..DEFAULTS
};

pub const WIREGUARD: Scenario = Scenario {
    name: "flannel-wireguard",
    about: "the same with encrypted packets",
    nodes: NODES,
    user_data: Some(WITHOUT_CONFIGURATION),
    on: &[Qemu],
    long_on: &[Qemu],
    run: |context| {
        flannel(
            context,
            &Backend { kind: "wireguard", device: Some("flannel-wg"), mtu: 1420, in_kernel: true },
        )
    },
    ..DEFAULTS
};

/// The tutorial's, with the configuration of the network.
const USER_DATA: &str = include_str!("../user-data/flannel.yaml");
const WITHOUT_CONFIGURATION: &str = include_str!("../user-data/flannel-without-configuration.yaml");

/// Between two containers while the store is unavailable.
#[derive(Clone, Copy)]
struct Traffic {
    /// Every 0.1 s.
    packets: u32,
    connections: u32,
}

/// Limit for both, on an emulated machine.
const TRAFFIC: Duration = Duration::from_secs(1800);
const MINUTE: Traffic = Traffic { packets: 600, connections: 10_000 };
const SECONDS: Traffic = Traffic { packets: 100, connections: 100 };

fn flannel(context: &Context<'_>, backend: &Backend) -> Result<(), Failure> {
    context.boot()?;
    if backend.kind != VXLAN.kind {
        for number in 1..=NODES {
            context.machine(number).succeed(START)?;
        }
        // The daemons wait for it.
        let config = format!(r#"{{"Network":"{NETWORK}","Backend":{{"Type":"{}"}}}}"#, backend.kind);
        let set = format!("etcdctl set /coreos.com/network/config '{config}'");
        context.machine(1).wait_until_succeeds(&set, LEASED)?;
    }
    let mut hosts = Vec::new();
    for number in 1..=NODES {
        hosts.push(lease(context.machine(number), backend, NETWORK)?);
    }
    let [one, two, three] = &hosts[..] else { return Ok(()) };
    expect(one.key != two.key && two.key != three.key && one.key != three.key, "three subnets", &one.key)?;
    all_pairs(&hosts)?;
    full_size(one, two, backend)?;
    drift(one, two, backend)?;
    if backend.in_kernel {
        restarted_daemon(one, two, backend)?;
    }
    deleted_lease(one, two, backend)?;
    names::looked_up(&hosts)?;
    // Every run has vxlan on nspawn.
    let is_long = backend.kind != VXLAN.kind || context.backend == Qemu;
    store_unavailable(one, two, if is_long { MINUTE } else { SECONDS })?;
    rebooted_machine(three, backend)?;
    all_pairs(&hosts)?;
    configuration::changed(hosts, backend)
}

/// The MTU is right: a packet of full size passes in one piece, a larger one does not.
fn full_size(from: &Host<'_>, to: &Host<'_>, backend: &Backend) -> Result<(), Failure> {
    let ping =
        |bytes: u32| format!("sudo ip netns exec container ping -c 1 -W 5 -M do -s {bytes} {}", to.container);
    from.machine.succeed(&ping(backend.mtu - 28))?;
    from.machine.fail(&ping(backend.mtu - 27))?;
    Ok(())
}

/// What another program removes is set again.
fn drift(from: &Host<'_>, to: &Host<'_>, backend: &Backend) -> Result<(), Failure> {
    let subnet = to.key.replace("-24", "/24");
    let base = to.key.trim_end_matches("-24");
    let mut removals = vec![];
    if backend.kind == VXLAN.kind {
        let found = from.machine.succeed(&format!("ip route show {subnet}"))?;
        let expected = format!("{subnet} via {base} dev flannel.1 onlink \n");
        expect(found == expected, &format!("the route {expected:?}"), &found)?;
        removals.push(format!("neigh del {base} dev flannel.1"));
    }
    match backend.kind {
        "vxlan" | "host-gw" => removals.push(format!("route del {subnet}")),
        // Their device has one route, to the whole network.
        _ => removals.extend(backend.device.map(|device| format!("route del {NETWORK} dev {device}"))),
    }
    removals.extend(backend.device.map(|device| format!("link del {device}")));
    for removal in removals {
        from.machine.succeed(&format!("sudo ip {removal}"))?;
        let ping = format!("sudo ip netns exec container ping -c 1 -W 5 {}", to.container);
        from.machine.wait_until_succeeds(&ping, SOON)?;
    }
    Ok(())
}

/// A restart of the daemon, and a killed one, keep device and traffic.
fn restarted_daemon(from: &Host<'_>, to: &Host<'_>, backend: &Backend) -> Result<(), Failure> {
    let name = backend.device.unwrap_or("lo");
    let device = format!("ip -o link show {name} | cut -d ' ' -f 1,2,17-");
    let before = from.machine.succeed(&device)?;
    // Not one of 50 packets in 5 s is lost.
    let ping = format!("sudo ip netns exec container ping -q -c 50 -i 0.1 -W 5 {}", to.container);
    for action in ["sudo systemctl restart flanneld", "sudo systemctl kill --signal=KILL flanneld"] {
        let output = from.machine.succeed(&format!("({ping}) & sleep 1; {action}; wait $!"))?;
        expect(output.contains("50 received"), "no packet lost", &output)?;
        from.machine.wait_for_unit("flanneld.service", SOON)?;
        let after = from.machine.succeed(&device)?;
        expect(after == before, &format!("the device {before:?}"), &after)?;
    }
    Ok(())
}

/// The deleted lease is created again with the same subnet.
fn deleted_lease(one: &Host<'_>, two: &Host<'_>, backend: &Backend) -> Result<(), Failure> {
    let ping = "sudo ip netns exec container ping";
    // How often the other machine's daemon has set the peer; removals have another reason.
    let subnet = one.key.replace("-24", "/24");
    let peers = format!("sudo journalctl -u flanneld | grep -c 'allowed-ips {subnet} (lease' || true");
    let before = two.machine.succeed(&peers)?.trim().to_owned();
    let key = format!("/coreos.com/network/subnets/{}", one.key);
    let value = one.machine.succeed(&format!("etcdctl get {key}"))?;
    two.machine.succeed(&format!("etcdctl rm {key}"))?;
    let again = one.machine.wait_until_succeeds(&format!("etcdctl get {key}"), SOON)?;
    expect(again == value, &format!("the lease {value:?}"), &again)?;
    let ttl =
        one.machine.succeed(&format!("curl --silent http://127.0.0.1:2379/v2/keys{key} | jq .node.ttl"))?;
    if backend.kind == "wireguard" {
        two.machine.wait_until_succeeds(&format!("test $({peers}) -gt {before}"), SOON)?;
        // A new session at once: without one, the kernel notices after 15 s that the former one is not answered.
        one.machine.succeed(&format!("{ping} -c 3 -W 3 {}", two.container))?;
    }
    // Before the store stops.
    one.machine.wait_until_succeeds(&format!("{ping} -c 1 -W 5 {}", two.container), SOON)?;
    expect(
        ttl.trim().parse::<u32>().is_ok_and(|ttl| (86_000..=86_400).contains(&ttl)),
        "a TTL of a day",
        &ttl,
    )
}

/// Without the store no packet is lost, and each connection is made.
fn store_unavailable(one: &Host<'_>, two: &Host<'_>, traffic: Traffic) -> Result<(), Failure> {
    let Traffic { packets, connections } = traffic;
    for host in [one, two] {
        host.machine.succeed("sudo systemctl stop etcd")?;
    }
    let serve = "ip netns exec container busybox httpd -f -p 80 -h /run/flannel";
    two.machine.succeed(&format!("sudo systemd-run --quiet --collect --unit=web {serve}"))?;
    two.machine
        .wait_until_succeeds("sudo ip netns exec container curl --silent 127.0.0.1/subnet.env", SOON)?;
    let address = &two.container;
    // Each request has a connection of its own. Longer than a command may take.
    let script = format!(
        "ping -q -c {packets} -i 0.1 -W 5 {address} >/run/packets &\n\
         curl --silent --output /dev/null --header 'Connection: close' --write-out '%{{http_code}}\\n' \
         'http://{address}/subnet.env?[1-{connections}]' | sort | uniq -c >/run/responses\n\
         wait\n"
    );
    one.machine.write("/run/traffic", script.as_bytes())?;
    let unit = "--quiet --collect --no-block --unit=traffic --property=Type=oneshot";
    one.machine.succeed(&format!("sudo systemd-run {unit} ip netns exec container sh /run/traffic"))?;
    let ended = "systemctl show --property=ActiveState --value traffic.service | grep -x inactive";
    one.machine.wait_until_succeeds(ended, TRAFFIC)?;
    let responses = one.machine.read("/run/responses")?;
    expect(responses.trim() == format!("{connections} 200"), "a response to each request", &responses)?;
    let received = one.machine.read("/run/packets")?;
    expect(received.contains(&format!("{packets} received")), "no packet lost", &received)?;
    two.machine.succeed("sudo systemctl stop web.service")?;
    for host in [one, two] {
        host.machine.succeed("sudo systemctl start --no-block etcd")?;
    }
    one.machine.wait_until_succeeds("etcdctl get /coreos.com/network/config", SOON)?;
    Ok(())
}

/// A machine that loses its power has the same subnet and device address after its boot; its WireGuard key is new.
fn rebooted_machine(host: &Host<'_>, backend: &Backend) -> Result<(), Failure> {
    let key = format!("/coreos.com/network/subnets/{}", host.key);
    let before = host.machine.succeed(&format!("etcdctl get {key}"))?;
    host.machine.crash()?;
    host.machine.start()?;
    if backend.kind != VXLAN.kind {
        host.machine.succeed(START)?;
    }
    host.machine.wait_for_unit("flanneld.service", LEASED)?;
    let after = host.machine.succeed(&format!("etcdctl get {key}"))?;
    let is_same_key = backend.kind != "wireguard";
    expect((after == before) == is_same_key, &format!("the lease {before:?}"), &after)?;
    start_container(&host.machine)
}
