//! `keelson-cluster-interfaces`: opens the cluster's ports on the interfaces of the addresses that the cluster uses.
//!
//! `keelson-firewall.service` rejects connections to these ports from all other interfaces, as those of containers.
//! The addresses are those of the environment: the machine's own, and those that etcd and fleet are configured with.
//! Without any, it is the interface of the default route.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::address::{self, Network};
use crate::root::Root;

const NFT: &str = "/usr/sbin/nft";
const SET: &str = "inet keelson cluster_interfaces";
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

/// Opens the cluster's ports on the interfaces of the machine's, etcd's and fleet's addresses, which it takes from
/// its environment.
#[derive(Parser)]
#[command(
    name = "keelson-cluster-interfaces",
    after_help = "Examples:\n  keelson-cluster-interfaces\n  ETCD_ADDR=10.0.0.1:4001 keelson-cluster-interfaces \
                  --dry-run"
)]
struct Flags {
    /// Print the interfaces, and open nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(args);
    let values: Vec<String> = VARIABLES.iter().filter_map(|name| std::env::var(name).ok()).collect();
    let used: BTreeSet<IpAddr> = values.iter().flat_map(|value| addresses(value)).collect();
    let mut interfaces = carrying(&used, &address::of_interfaces()?);
    if interfaces.is_empty() {
        let machine = Network::observe(&Root::machine()).best_available();
        interfaces.extend(machine.map(|address| address.interface));
    }
    if flags.dry_run {
        for interface in &interfaces {
            println!("{interface}");
        }
    } else if interfaces.is_empty() {
        eprintln!("no interface has an address of the cluster; its ports stay closed");
    } else {
        open(&interfaces)?;
        let names: Vec<&str> = interfaces.iter().map(String::as_str).collect();
        eprintln!("the cluster's ports are open on {}", names.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

/// The IP addresses of a list: with a scheme, a port, both or neither. Names and unspecified addresses select no
/// interface.
fn addresses(list: &str) -> impl Iterator<Item = IpAddr> + '_ {
    list.split(',').filter_map(|item| {
        let item = item.trim();
        let item = item.split_once("://").map_or(item, |(_, rest)| rest).trim_end_matches('/');
        let address =
            item.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| item.parse()).ok()?;
        (!address.is_unspecified() && !address.is_loopback()).then_some(address)
    })
}

fn carrying(used: &BTreeSet<IpAddr>, interfaces: &[(String, IpAddr)]) -> BTreeSet<String> {
    interfaces.iter().filter(|(_, address)| used.contains(address)).map(|(name, _)| name.clone()).collect()
}

fn open(interfaces: &BTreeSet<String>) -> Result<()> {
    let command = add_elements(interfaces)?;
    let mut nft = Command::new(NFT)
        .args(["--file", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {NFT}"))?;
    if let Some(mut input) = nft.stdin.take() {
        input.write_all(command.as_bytes()).context("cannot write to nft")?;
    }
    let status = nft.wait().context("cannot wait for nft")?;
    ensure!(
        status.success(),
        "nft: {status}; `systemctl status keelson-firewall` shows whether the set exists"
    );
    Ok(())
}

fn add_elements(interfaces: &BTreeSet<String>) -> Result<String> {
    let quoted = |name: &String| {
        // nft has no escapes.
        ensure!(!name.contains(['"', '\\', '*']), "nft cannot express the name of interface {name:?}");
        Ok(format!("\"{name}\""))
    };
    let names = interfaces.iter().map(quoted).collect::<Result<Vec<_>>>()?;
    Ok(format!("add element {SET} {{ {} }}\n", names.join(", ")))
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
    fn interfaces_are_those_of_the_addresses() {
        let interfaces =
            [("eth0", "10.0.0.1"), ("eth0", "fd00::1"), ("eth1", "192.168.0.1"), ("docker0", "172.17.0.1")]
                .map(|(name, address)| (name.to_owned(), address.parse().unwrap()));
        let check = |used: &[&str], expect: &[&str]| {
            let used = used.iter().map(|address| address.parse().unwrap()).collect();
            assert!(carrying(&used, &interfaces).iter().eq(expect), "{used:?}");
        };
        check(&["10.0.0.1", "fd00::1"], &["eth0"]);
        check(&["10.0.0.1", "192.168.0.1"], &["eth0", "eth1"]);
        check(&["203.0.113.7"], &[]);
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        let of = |name: &str| add_elements(&[name.to_owned()].into());
        assert_eq!(of("enp0s3").unwrap(), "add element inet keelson cluster_interfaces { \"enp0s3\" }\n");
        for name in ["a\" }", "a\\", "a*"] {
            assert!(of(name).is_err(), "{name}");
        }
    }
}
