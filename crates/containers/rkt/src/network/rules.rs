//! Rules of nftables: a table for each pod, `rkt-UUID`, which is added and removed as a whole.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use ipnet::Ipv4Net;
use netlink::nftables::expressions::{
    Address, Interface, address_is, destination_is_local, destination_nat, destination_port_is, interface_is,
    masquerade, verdict,
};
use netlink::nftables::{ACCEPT, BaseChain, DROP, Nftables, OUTPUT, Operation, POSTROUTING, PREROUTING};
use netlink_packet_netfilter::nftables::Expressions;
use nix::errno::Errno;
use nix::libc::{IPPROTO_TCP, IPPROTO_UDP};
use pod::{PodManifest, PortForward, Protocol, Uuid};

use super::subnet::Subnet;

const PREFIX: &str = "rkt-";
/// Chains: name, type, hook and priority.
const CHAINS: [(&str, &str, u32, i32); 4] = [
    ("loopback", "filter", PREROUTING, -300),
    ("prerouting", "nat", PREROUTING, -100),
    ("output", "nat", OUTPUT, -100),
    ("postrouting", "nat", POSTROUTING, 100),
];
const LOOPBACK: (Ipv4Addr, u8) = (Ipv4Addr::new(127, 0, 0, 0), 8);

/// Of the network namespace of the calling thread, within a runtime.
pub fn open() -> anyhow::Result<Nftables> {
    Nftables::open().context("cannot open a netlink socket for the packet filter")
}

/// Adds a pod's table.
pub async fn add(
    nftables: &Nftables,
    subnet: &Subnet,
    manifest: &PodManifest,
    own: Ipv4Addr,
) -> anyhow::Result<()> {
    let table = table(&manifest.uuid);
    let mut operations = vec![Operation::create_table(&table)];
    for (name, kind, hook, priority) in CHAINS {
        let base = BaseChain { kind: kind.to_owned(), hook, priority, policy: ACCEPT };
        operations.push(Operation::create_chain(&table, name, base));
    }
    for (chain, rule) in rules(subnet, manifest, own)? {
        operations.push(Operation::append_rule(&table, chain, rule));
    }
    let added = nftables.commit(operations).await;
    added.with_context(|| {
        format!("cannot add table {table} of nftables (kernel modules nft_chain_nat, nft_masq, nft_fib_ipv4)")
    })
}

/// The rules in their order, with their chains.
fn rules(
    subnet: &Subnet,
    manifest: &PodManifest,
    own: Ipv4Addr,
) -> anyhow::Result<Vec<(&'static str, Vec<Expressions>)>> {
    let is = |address: Address, (network, prefix): (Ipv4Addr, u8), negated: bool| {
        let network = Ipv4Net::new(network, prefix).context("a network's prefix")?;
        anyhow::Ok(address_is(address, network, negated))
    };
    let own = (own, 32);
    let from_own = is(Address::Source, own, false)?;
    let to_own = is(Address::Destination, own, false)?;
    let mut rules = vec![(
        "loopback",
        [
            interface_is(Interface::Input, subnet.bridge),
            from_own.clone(),
            is(Address::Destination, LOOPBACK, false)?,
            vec![verdict(DROP)],
        ]
        .concat(),
    )];
    for chain in ["prerouting", "output"] {
        for port in &manifest.ports {
            let to_host = match port.host_address {
                Some(address) => is(Address::Destination, (address, 32), false)?,
                None => destination_is_local(),
            };
            rules.extend(forward(port, own.0).map(|rest| (chain, [to_host, rest].concat())));
        }
    }
    let mut leaves = |conditions: &[Vec<Expressions>]| {
        rules.push(("postrouting", [&conditions.concat()[..], &[masquerade()]].concat()));
    };
    if subnet.masquerade {
        leaves(&[from_own.clone(), is(Address::Destination, subnet.network, true)?]);
    }
    leaves(&[is(Address::Source, LOOPBACK, false)?, to_own.clone()]);
    leaves(&[from_own, to_own]);
    Ok(rules)
}

/// From a port of the host to the pod's.
fn forward(port: &PortForward, own: Ipv4Addr) -> Option<Vec<Expressions>> {
    let (number, protocol) = port.target()?;
    let protocol = match protocol {
        Protocol::Tcp => IPPROTO_TCP,
        Protocol::Udp => IPPROTO_UDP,
    };
    let condition = destination_port_is(u8::try_from(protocol).ok()?, port.host_port);
    Some([condition, destination_nat(own, number)].concat())
}

/// Removes a pod's table, if it is there.
pub async fn remove(nftables: &Nftables, uuid: &Uuid) -> anyhow::Result<()> {
    let table = table(uuid);
    match nftables.commit(vec![Operation::delete_table(&table)]).await {
        Err(error) if error.is(Errno::ENOENT) => Ok(()),
        removed => removed.with_context(|| format!("cannot remove table {table} of nftables")),
    }
}

/// The pods that have tables.
pub async fn of_pods(nftables: &Nftables) -> anyhow::Result<Vec<Uuid>> {
    let tables = nftables.tables().await;
    let tables = tables.context("cannot list the tables of nftables (kernel module nf_tables)")?;
    Ok(tables.iter().filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok()).collect())
}

fn table(uuid: &Uuid) -> String {
    format!("{PREFIX}{uuid}")
}
