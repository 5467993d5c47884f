//! The bridge of a network.

use std::fs;

use anyhow::{Context as _, bail};

use super::program::{output, run};
use super::subnet::Subnet;

/// Rules of users, in Docker's table.
const DOCKER_CHAIN: &str = "DOCKER-USER";

/// Creates what is missing of the bridge.
pub fn ensure(subnet: &Subnet) -> anyhow::Result<()> {
    let (bridge, gateway, prefix, mtu) = (subnet.bridge, subnet.gateway, subnet.prefix, subnet.mtu);
    let addresses = output("ip", &["-oneline", "-4", "address", "show"], "")?;
    let wanted = format!("{gateway}/{prefix}");
    // `2: eth0    inet 10.0.0.1/24 ...`
    for line in addresses.lines() {
        let mut fields = line.split_whitespace().skip(1);
        let interface = fields.next().unwrap_or_default();
        if interface != bridge && fields.any(|field| field == wanted) {
            bail!(
                "{interface} has the address {wanted} of the network {}; pods need it for {bridge}",
                subnet.name
            );
        }
    }
    // `2: eth0: <UP> ...`; /sys may be that of another network namespace.
    let links = output("ip", &["-oneline", "link", "show"], "")?;
    if !links.lines().any(|line| line.split(": ").nth(1) == Some(bridge)) {
        run("ip", &["link", "add", bridge, "type", "bridge"], "")?;
    }
    let commands = format!("address replace {wanted} dev {bridge}\nlink set {bridge} mtu {mtu} up\n");
    run("ip", &["-batch", "-"], &commands)?;
    set("/proc/sys/net/ipv4/ip_forward", "1")?;
    permit_forwarding(bridge)?;
    // Programs of the host reach forwarded ports by its loopback addresses; a rule protects those from pods.
    set(&format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet"), "1")
}

/// Docker drops forwarded packets by the policy of its table, which an accepting rule of another table does not lift. Its
/// chain for rules of others precedes it.
fn permit_forwarding(bridge: &str) -> anyhow::Result<()> {
    // Absent, or without the chain: nothing is dropped.
    if output("iptables", &["--wait", "--list-rules", DOCKER_CHAIN], "").is_err() {
        return Ok(());
    }
    for direction in ["--in-interface", "--out-interface"] {
        let rule = [DOCKER_CHAIN, direction, bridge, "--jump", "ACCEPT"];
        let check: Vec<&str> = ["--wait", "--check"].into_iter().chain(rule).collect();
        if output("iptables", &check, "").is_err() {
            let insert: Vec<&str> = ["--wait", "--insert"].into_iter().chain(rule).collect();
            run("iptables", &insert, "")?;
        }
    }
    Ok(())
}

fn set(path: &str, value: &str) -> anyhow::Result<()> {
    if fs::read_to_string(path).is_ok_and(|current| current.trim() == value) {
        return Ok(());
    }
    fs::write(path, value).with_context(|| format!("cannot set {path} to {value}"))
}
