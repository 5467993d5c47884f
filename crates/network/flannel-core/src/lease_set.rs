//! The leases of all hosts, and the kernel entries that they require.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
};

use ipnet::Ipv4Net;

use crate::{
    acquire::overlap,
    backend::{Backend, WireguardSettings},
    config::NetworkConfig,
    lease::Lease,
    tables::{Change, Peer, Route, RouteLink, Step, Tables, steps},
};

/// Every lease, by its subnet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeaseSet {
    leases: BTreeMap<Ipv4Net, Lease>,
}

/// What decides about the entries, other than the leases.
#[derive(Clone, Debug)]
pub struct Host<'a> {
    /// The network.
    pub config: &'a NetworkConfig,
    /// How packets leave.
    pub backend: &'a Backend,
    /// This host's subnet.
    pub subnet: Ipv4Net,
    /// This host's public address.
    pub public_ip: Ipv4Addr,
    /// Public addresses that are reached without a gateway.
    pub direct: &'a BTreeSet<Ipv4Addr>,
}

/// A lease that leads to no entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ignored {
    /// Its subnet.
    pub subnet: Ipv4Net,
    /// Why, for the log.
    pub cause: String,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ignoring subnet {}: {}", self.subnet, self.cause)
    }
}

/// The tables that a host has to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The kernel's tables.
    pub tables: Tables,
    /// Hosts of the udp backend, by their subnets.
    pub datagrams: BTreeMap<Ipv4Net, SocketAddrV4>,
    /// Leases without entries.
    pub ignored: Vec<Ignored>,
}

impl LeaseSet {
    /// All leases at one index replace what was known.
    pub fn replace(&mut self, leases: impl IntoIterator<Item = Lease>) {
        self.leases = leases.into_iter().map(|lease| (lease.subnet, lease)).collect();
    }

    /// A lease was created or changed. An older write than the known one has no effect.
    pub fn set(&mut self, lease: Lease) {
        let known = self.leases.get(&lease.subnet);
        if known.is_none_or(|known| known.modified_index <= lease.modified_index) {
            self.leases.insert(lease.subnet, lease);
        }
    }

    /// The key of a subnet was removed, or its value is no lease any more.
    pub fn remove(&mut self, subnet: Ipv4Net) {
        self.leases.remove(&subnet);
    }

    /// A subnet's lease.
    pub fn get(&self, subnet: Ipv4Net) -> Option<&Lease> {
        self.leases.get(&subnet)
    }

    /// Every lease, by subnet.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }

    /// Public addresses of the other hosts whose leases the host's backend uses.
    pub fn public_addresses<'a>(&'a self, host: &'a Host<'_>) -> impl Iterator<Item = Ipv4Addr> + 'a {
        self.iter()
            .filter(|lease| lease.attributes.backend_type == host.backend.lease_type())
            .map(|lease| lease.attributes.public_ip)
            .filter(|address| *address != host.public_ip)
    }

    /// The entries that the leases require at `host`.
    pub fn desired(&self, host: &Host<'_>) -> Desired {
        let mut desired = Desired::default();
        if matches!(host.backend, Backend::Udp { .. } | Backend::Wireguard(_)) {
            // One for all hosts: a packet to a subnet that no host has does not leave by another route, unencrypted.
            let route = Route { gateway: None, link: RouteLink::Overlay };
            desired.tables.routes.insert(host.config.network, route);
        }
        // Newer leases first: of two with the same device, the older one belongs to a host that leased another subnet
        // since.
        let mut newest: Vec<&Lease> = self.iter().filter(|lease| lease.subnet != host.subnet).collect();
        newest.sort_by_key(|lease| std::cmp::Reverse(lease.modified_index));
        for lease in newest {
            if let Err(cause) = add(host, lease, &mut desired) {
                desired.ignored.push(Ignored { subnet: lease.subnet, cause });
            }
        }
        desired.ignored.sort();
        desired
    }

    /// The steps from the observed tables to the desired ones.
    pub fn plan(&self, observed: &Tables, desired: &Tables) -> Vec<Step> {
        let by_base: BTreeMap<Ipv4Addr, &Lease> =
            self.iter().map(|lease| (lease.subnet.addr(), lease)).collect();
        let by_host: BTreeMap<Ipv4Addr, &Lease> =
            self.iter().map(|lease| (lease.attributes.public_ip, lease)).collect();
        steps(observed, desired, &|change| {
            let lease = match change {
                Change::SetNeighbor { address, .. } | Change::RemoveNeighbor { address, .. } => {
                    by_base.get(address)
                }
                Change::SetForwarding { host, .. } | Change::RemoveForwarding { host, .. } => {
                    by_host.get(host)
                }
                Change::SetPeer { peer, .. } => by_base.get(&peer.allowed.addr()),
                Change::SetRoute { subnet, .. } | Change::RemoveRoute { subnet, .. } => {
                    by_base.get(&subnet.addr()).filter(|lease| lease.subnet == *subnet)
                }
                Change::RemovePeer { .. } => None,
            };
            reason(change, lease.copied())
        })
    }
}

fn reason(change: &Change, lease: Option<&Lease>) -> String {
    let removes = matches!(
        change,
        Change::RemoveNeighbor { .. }
            | Change::RemoveForwarding { .. }
            | Change::RemoveRoute { .. }
            | Change::RemovePeer { .. }
    );
    match (lease, removes) {
        (Some(lease), false) => format!("lease {} of {}", lease.subnet, lease.attributes.public_ip),
        (Some(lease), true) => {
            format!("not required by lease {} of {}", lease.subnet, lease.attributes.public_ip)
        }
        (None, true) => "no lease requires it".to_owned(),
        (None, false) => "the network".to_owned(),
    }
}

/// Adds the entries of one lease, or says why there are none.
fn add(host: &Host<'_>, lease: &Lease, desired: &mut Desired) -> Result<(), String> {
    let (subnet, attributes) = (lease.subnet, &lease.attributes);
    let public_ip = attributes.public_ip;
    if *host.backend == Backend::Alloc {
        return Ok(());
    }
    let own_type = host.backend.lease_type();
    // flannel's udp leases name no type, or `udp`.
    let same_type =
        attributes.backend_type == own_type || (own_type.is_empty() && attributes.backend_type == "udp");
    if !same_type {
        let own = if own_type.is_empty() { "udp" } else { own_type };
        return Err(format!("not of backend {own}, type={:?}", attributes.backend_type));
    }
    if public_ip == host.public_ip {
        return Err(format!("its PublicIP {public_ip} is this host's, which leases {}", host.subnet));
    }
    if overlap(subnet, host.subnet) {
        return Err(format!("it overlaps this host's subnet {}", host.subnet));
    }
    if !host.config.network.contains(&subnet) {
        return Err(format!("it is not within the network {}", host.config.network));
    }
    let tables = &mut desired.tables;
    let direct = Route { gateway: Some(public_ip), link: RouteLink::External };
    match host.backend {
        Backend::HostGw => {
            tables.routes.insert(subnet, direct);
        }
        Backend::Vxlan(settings) if settings.direct_routing && host.direct.contains(&public_ip) => {
            tables.routes.insert(subnet, direct);
        }
        Backend::Vxlan(_) => {
            let mac = attributes.vtep_mac().map_err(|error| error.to_string())?;
            if let Some(other) = tables.forwarding.get(&mac) {
                return Err(format!("{other} has the same VtepMAC {mac} in a newer lease"));
            }
            tables.neighbors.insert(subnet.addr(), mac);
            tables.forwarding.insert(mac, public_ip);
            tables.routes.insert(subnet, Route { gateway: Some(subnet.addr()), link: RouteLink::Overlay });
        }
        Backend::Wireguard(settings) => {
            let key = attributes.public_key().map_err(|error| error.to_string())?;
            if let Some(other) = tables.peers.get(&key) {
                return Err(format!("{} has the same PublicKey in a newer lease", other.endpoint.ip()));
            }
            let endpoint = SocketAddrV4::new(public_ip, settings.port);
            let WireguardSettings { keepalive, preshared, .. } = *settings;
            tables.peers.insert(key, Peer { endpoint, allowed: subnet, keepalive, preshared });
        }
        Backend::Udp { port } => {
            desired.datagrams.insert(subnet, SocketAddrV4::new(public_ip, *port));
        }
        Backend::Alloc => {}
    }
    Ok(())
}

/// Whether flanneld owns a route that was observed on the external interface: one that it would set for a network with
/// such subnets.
pub fn owns_route(network: Ipv4Net, subnet_len: u8, subnet: Ipv4Net, route: &Route) -> bool {
    route.gateway.is_some() && network.contains(&subnet) && subnet.prefix_len() == subnet_len
}

#[cfg(test)]
mod tests;
