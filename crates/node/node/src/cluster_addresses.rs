//! `keelson-cluster-addresses`: opens the cluster's ports for connections to the addresses that the cluster uses.
//!
//! `keelson-firewall.service` rejects connections to these ports otherwise: those to other addresses, and those that
//! arrive at an interface which does not have the address, as from containers. The addresses are those of the
//! environment: the machine's own, and those that etcd and fleet are configured with. They need not exist yet. Without
//! any, it is the address of the default route.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::address::Network;
use crate::root::Root;

const NFT: &str = "/usr/sbin/nft";
/// The sets of IPv4 and IPv6 addresses.
const SETS: [&str; 2] = ["cluster_addresses", "cluster_addresses_ipv6"];
/// Lists of addresses, with ports or URLs.
const VARIABLES: [&str; 11] = [
    "COREOS_PRIVATE_IPV4",
    "COREOS_PUBLIC_IPV4",
    "ETCD_ADDR",
    "ETCD_ADVERTISE_CLIENT_URLS",
    "ETCD_BIND_ADDR",
    "ETCD_INITIAL_ADVERTISE_PEER_URLS",
    "ETCD_LISTEN_CLIENT_URLS",
    "ETCD_LISTEN_PEER_URLS",
    "ETCD_PEER_ADDR",
    "ETCD_PEER_BIND_ADDR",
    "FLEET_PUBLIC_IP",
];

/// Opens the cluster's ports for connections to the machine's, etcd's and fleet's addresses, which it takes from its
/// environment.
#[derive(Parser)]
#[command(
    name = "keelson-cluster-addresses",
    after_help = "Examples:\n  keelson-cluster-addresses\n  ETCD_ADDR=10.0.0.1:4001 keelson-cluster-addresses --dry-run"
)]
struct Flags {
    /// Print the addresses, and open nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(args);
    let values: Vec<String> = VARIABLES.iter().filter_map(|name| std::env::var(name).ok()).collect();
    let mut used: BTreeSet<IpAddr> = values.iter().flat_map(|value| addresses(value)).collect();
    if used.is_empty() {
        let machine = Network::observe(&Root::machine()).best_available();
        used.extend(machine.map(|found| IpAddr::V4(found.address)));
    }
    if flags.dry_run {
        for address in &used {
            println!("{address}");
        }
    } else if used.is_empty() {
        eprintln!("the machine has no address yet; the cluster's ports stay closed");
    } else {
        open(&used)?;
        let list: Vec<String> = used.iter().map(ToString::to_string).collect();
        eprintln!("the cluster's ports are open at {}", list.join(", "));
    }
    Ok(ExitCode::SUCCESS)
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

fn open(used: &BTreeSet<IpAddr>) -> Result<()> {
    let mut nft = Command::new(NFT)
        .args(["--file", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {NFT}"))?;
    if let Some(mut input) = nft.stdin.take() {
        input.write_all(add_elements(used).as_bytes()).context("cannot write to nft")?;
    }
    let status = nft.wait().context("cannot wait for nft")?;
    ensure!(
        status.success(),
        "nft: {status}; `systemctl status keelson-firewall` shows whether the sets exist"
    );
    Ok(())
}

/// nft's commands, one for each address.
fn add_elements(used: &BTreeSet<IpAddr>) -> String {
    let command = |address: &IpAddr| {
        let [ipv4, ipv6] = SETS;
        let set = if address.is_ipv4() { ipv4 } else { ipv6 };
        format!("add element inet keelson {set} {{ {address} }}\n")
    };
    used.iter().map(command).collect()
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
    fn addresses_are_added_to_the_set_of_their_family() {
        let used = ["fd00::1", "10.0.0.1"].map(|address| address.parse().unwrap()).into();
        assert_eq!(
            add_elements(&used),
            "add element inet keelson cluster_addresses { 10.0.0.1 }\n\
             add element inet keelson cluster_addresses_ipv6 { fd00::1 }\n"
        );
    }
}
