//! `keelson-cluster-addresses`: opens the cluster's ports for connections to the addresses that the cluster uses.
//!
//! `keelson-firewall.service` rejects connections to these ports otherwise: those to other addresses, those that arrive
//! at an interface which does not have the address, as from containers, and those that the node forwards to other
//! members. The addresses are those of the environment: the machine's own, and those that etcd and fleet are configured
//! with. They need not exist yet. Without any, it is the address of the default route.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use service::file::replace;

use crate::address::{self, Network};
use crate::root::Root;

const NFT: &str = "/usr/sbin/nft";
/// nft's commands of all calls in this boot: another load of the rules includes them.
const FILE: &str = "/run/keelson/cluster-addresses.nft";
const FILE_MODE: u32 = 0o644;
/// Lists of addresses, with ports or URLs.
const CLUSTER_VARIABLES: [&str; 9] = [
    "COREOS_PRIVATE_IPV4",
    "ETCD_ADDR",
    "ETCD_ADVERTISE_CLIENT_URLS",
    "ETCD_BIND_ADDR",
    "ETCD_INITIAL_ADVERTISE_PEER_URLS",
    "ETCD_LISTEN_CLIENT_URLS",
    "ETCD_LISTEN_PEER_URLS",
    "ETCD_PEER_ADDR",
    "ETCD_PEER_BIND_ADDR",
];
/// For fleetd's port only: often the public address, for operators.
const FLEET_VARIABLES: [&str; 1] = ["FLEET_PUBLIC_IP"];

/// Opens the cluster's ports for connections to the machine's, etcd's and fleet's addresses, which it takes from its
/// environment.
#[derive(Parser)]
#[command(
    name = "keelson-cluster-addresses",
    after_help = "Examples:\n  keelson-cluster-addresses\n  ETCD_ADDR=10.0.0.1:4001 keelson-cluster-addresses --dry-run"
)]
struct Flags {
    /// Print nft's commands, and open nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(args);
    let mut cluster = of_environment(&CLUSTER_VARIABLES);
    let fleet = of_environment(&FLEET_VARIABLES);
    let default = default_address();
    if cluster.is_empty() {
        cluster.extend(default);
    }
    let used: BTreeSet<IpAddr> = cluster.union(&fleet).copied().chain(default).collect();
    let interfaces = address::of_interfaces()?.into_iter().filter(|(_, address)| used.contains(address));
    let commands = commands(&cluster, &fleet, &interfaces.map(|(name, _)| name).collect());
    if flags.dry_run {
        commands.iter().for_each(|command| println!("{command}"));
    } else if cluster.is_empty() {
        eprintln!("the machine has no address yet; the cluster's ports stay closed");
    } else {
        open(commands)?;
        let list: Vec<String> = cluster.iter().map(ToString::to_string).collect();
        eprintln!("the cluster's ports are open at {}", list.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn of_environment(variables: &[&str]) -> BTreeSet<IpAddr> {
    let values = variables.iter().filter_map(|name| std::env::var(name).ok());
    values.flat_map(|value| addresses(&value).collect::<Vec<_>>()).collect()
}

/// The IP addresses of a list: with a scheme, a port, both or neither. Names are no addresses, and unspecified ones and
/// loopback open nothing.
fn addresses(list: &str) -> impl Iterator<Item = IpAddr> + '_ {
    list.split(',').filter_map(|item| {
        let item = item.trim();
        let item = item.split_once("://").map_or(item, |(_, rest)| rest).trim_end_matches('/');
        let address =
            item.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| item.parse()).ok()?;
        (!address.is_unspecified() && !address.is_loopback()).then_some(address)
    })
}

/// The address of the LAN or of the default route, as etcd chooses it.
fn default_address() -> Option<IpAddr> {
    let ipv4 = Network::observe(&Root::machine()).best_available().map(|found| IpAddr::V4(found.address));
    ipv4.or_else(|| {
        let socket = UdpSocket::bind("[::]:0").ok()?;
        // A documentation address, which only a default route has. No packet is sent.
        socket.connect("[2001:db8::1]:9").ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    })
}

/// nft's commands, one for each element.
fn commands(
    cluster: &BTreeSet<IpAddr>,
    fleet: &BTreeSet<IpAddr>,
    interfaces: &BTreeSet<String>,
) -> BTreeSet<String> {
    let add = |set: &str, element: &str| format!("add element inet keelson {set} {{ {element} }}");
    let of_address = |set: &str, address: &IpAddr| {
        let family = if address.is_ipv4() { "" } else { "_ipv6" };
        add(&format!("{set}{family}"), &address.to_string())
    };
    let mut commands = BTreeSet::new();
    commands.extend(cluster.iter().map(|address| of_address("cluster_addresses", address)));
    commands.extend(fleet.iter().map(|address| of_address("fleet_addresses", address)));
    // nft has no escapes.
    let quotable = interfaces.iter().filter(|name| !name.contains(['"', '\\', '*']));
    commands.extend(quotable.map(|name| add("cluster_interfaces", &format!("\"{name}\""))));
    commands
}

/// Adds to the commands of earlier calls, and runs all. Each load of the rules runs those of earlier calls.
fn open(mut commands: BTreeSet<String>) -> Result<()> {
    let before: BTreeSet<String> =
        std::fs::read_to_string(FILE).unwrap_or_default().lines().map(str::to_owned).collect();
    if commands.is_subset(&before) {
        return Ok(());
    }
    commands.extend(before);
    let text: String = commands.iter().flat_map(|command| [command.as_str(), "\n"]).collect();
    let path = Path::new(FILE);
    path.parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| replace(path, text.as_bytes(), FILE_MODE))
        .with_context(|| format!("cannot write {FILE}"))?;
    let status =
        Command::new(NFT).args(["--file", FILE]).status().with_context(|| format!("cannot start {NFT}"))?;
    ensure!(
        status.success(),
        "nft: {status}; `systemctl status keelson-firewall` shows whether the sets exist"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_every_form_of_etcd_and_fleet() {
        let check = |list: &str, expect: &[&str]| {
            let found: Vec<String> = addresses(list).map(|address| address.to_string()).collect();
            assert_eq!(found, expect, "{list}");
        };
        check("10.0.0.1", &["10.0.0.1"]);
        check("10.0.0.1:4001", &["10.0.0.1"]);
        check("http://10.0.0.1:2379, https://[fd00::1]:4001/", &["10.0.0.1", "fd00::1"]);
        check("[fd00::1]:4001", &["fd00::1"]);
        check("http://0.0.0.0:2379,http://[::]:4001,http://127.0.0.1:4001,http://localhost:2379", &[]);
        check("", &[]);
        check("core-01:4001,$private_ipv4:4001", &[]);
    }

    #[test]
    fn elements_are_added_to_the_set_of_their_kind() {
        let addresses = |list: &[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
        let interfaces = ["enp0s3", "a\" }", "a*"].map(str::to_owned).into();
        let commands =
            commands(&addresses(&["fd00::1", "10.0.0.1"]), &addresses(&["203.0.113.7"]), &interfaces);
        let expect = [
            "cluster_addresses { 10.0.0.1 }",
            "cluster_addresses_ipv6 { fd00::1 }",
            "cluster_interfaces { \"enp0s3\" }",
            "fleet_addresses { 203.0.113.7 }",
        ];
        assert!(commands.iter().eq(&expect.map(|element| format!("add element inet keelson {element}"))));
    }
}
