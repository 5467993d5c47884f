//! Rules of nftables: a table for each pod, `rkt-UUID`, which is added and removed as a whole.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use pod::{PodManifest, PodState};

use super::program::{output, run};
use super::subnet::Subnet;
use crate::pods::Pods;

const PREFIX: &str = "rkt-";

/// Adds a pod's table and returns its name.
pub fn add(subnet: &Subnet, manifest: &PodManifest, own: Ipv4Addr) -> anyhow::Result<String> {
    let table = format!("{PREFIX}{}", manifest.uuid);
    run("nft", &["-f", "-"], &text(&table, subnet, manifest, own))?;
    Ok(table)
}

fn text(table: &str, subnet: &Subnet, manifest: &PodManifest, own: Ipv4Addr) -> String {
    let bridge = subnet.bridge;
    let mut forwards = String::new();
    for port in &manifest.ports {
        let Some((number, protocol)) = port.target() else { continue };
        let address = match port.host_address {
            Some(address) => format!("ip daddr {address}"),
            None => "fib daddr type local".to_owned(),
        };
        let rule = format!("{address} {protocol} dport {} dnat to {own}:{number}", port.host_port);
        // Infallible: a string grows.
        forwards.write_fmt(format_args!("    {rule}\n")).unwrap_or_default();
    }
    let (network, prefix) = subnet.network;
    let masquerade = if subnet.masquerade {
        format!("    ip saddr {own} ip daddr != {network}/{prefix} masquerade\n")
    } else {
        String::new()
    };
    format!(
        "table ip {table} {{\n\
         \x20 chain loopback {{\n    type filter hook prerouting priority -300;\n    \
         iifname \"{bridge}\" ip saddr {own} ip daddr 127.0.0.0/8 drop\n  }}\n\
         \x20 chain prerouting {{\n    type nat hook prerouting priority -100;\n{forwards}  }}\n\
         \x20 chain output {{\n    type nat hook output priority -100;\n{forwards}  }}\n\
         \x20 chain postrouting {{\n    type nat hook postrouting priority 100;\n{masquerade}    \
         ip saddr 127.0.0.0/8 ip daddr {own} masquerade\n    \
         ip saddr {own} ip daddr {own} masquerade\n  }}\n}}\n"
    )
}

pub fn remove(table: &str) -> anyhow::Result<()> {
    run("nft", &["delete", "table", "ip", table], "")
}

/// Removes a pod's table, if it is there.
pub fn remove_if_present(uuid: &pod::Uuid) -> anyhow::Result<()> {
    let name = format!("{PREFIX}{uuid}");
    let tables = output("nft", &["list", "tables", "ip"], "")?;
    let is_present = tables.lines().any(|line| line.split_whitespace().nth(2) == Some(name.as_str()));
    if is_present { remove(&name) } else { Ok(()) }
}

/// Removes tables of pods that do not run, which `rkt` could not remove since it was killed.
pub fn remove_stale(pods: &Pods) -> anyhow::Result<()> {
    let tables = output("nft", &["list", "tables", "ip"], "")?;
    // `table ip NAME`
    for name in tables.lines().filter_map(|line| line.split_whitespace().nth(2)) {
        let Some(uuid) = name.strip_prefix(PREFIX).and_then(|uuid| uuid.parse::<pod::Uuid>().ok()) else {
            continue;
        };
        // Pods of another directory are not this one's to judge.
        let Ok(found) = pods.find(uuid.as_str()) else { continue };
        if found.state()? != PodState::Running {
            remove(name)?;
        }
    }
    Ok(())
}
