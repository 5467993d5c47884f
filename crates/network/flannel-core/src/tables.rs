//! The kernel's tables through which packets reach the subnets of other hosts, and the changes that lead from what
//! was observed to what the leases require.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
};

use ipnet::Ipv4Net;

use crate::{
    mac_address::MacAddress,
    wireguard_key::{WireguardKey, WireguardSecret},
};

/// The entries that flanneld owns, observed or desired. Equal tables carry the same traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Permanent neighbors of the flannel device: the base address of a subnet to the MAC address of its host's VTEP.
    pub neighbors: BTreeMap<Ipv4Addr, MacAddress>,
    /// Forwarding database of the vxlan device: the MAC address of a VTEP to the public address of its host.
    pub forwarding: BTreeMap<MacAddress, Ipv4Addr>,
    /// Peers of the WireGuard device, by their public keys.
    pub peers: BTreeMap<WireguardKey, Peer>,
    /// Routes to the subnets of other hosts.
    pub routes: BTreeMap<Ipv4Net, Route>,
}

/// A peer of a WireGuard device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// UDP address of the host.
    pub endpoint: SocketAddrV4,
    /// The only addresses that packets from this peer may have, and that are sent to it.
    pub allowed: Ipv4Net,
    /// Seconds between two packets that keep the connection through a NAT open; 0: none.
    pub keepalive: u16,
    /// The preshared key.
    pub preshared: Option<WireguardSecret>,
}

impl Tables {
    /// WireGuard follows a peer to the address from which its authenticated packets come, such as that of a NAT. An
    /// endpoint counts as changed only if it differs from the one in `set`, which flanneld set.
    pub fn ignore_roaming(&mut self, set: &BTreeMap<WireguardKey, SocketAddrV4>) {
        for (key, peer) in &mut self.peers {
            if let Some(endpoint) = set.get(key) {
                peer.endpoint = *endpoint;
            }
        }
    }
}

/// How packets leave for a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The next hop; none on a device that has no link layer.
    pub gateway: Option<Ipv4Addr>,
    /// The device.
    pub link: RouteLink,
}

/// The device of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteLink {
    /// flanneld's own device. With a gateway, the route is `onlink`: no address of the device contains the gateway.
    Overlay,
    /// The interface to the other hosts.
    External,
}

/// One change of the tables. `Set` replaces an entry with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub enum Change {
    SetNeighbor { address: Ipv4Addr, mac: MacAddress },
    SetForwarding { mac: MacAddress, host: Ipv4Addr },
    SetPeer { key: WireguardKey, peer: Peer },
    SetRoute { subnet: Ipv4Net, route: Route },
    RemoveRoute { subnet: Ipv4Net, route: Route },
    RemovePeer { key: WireguardKey },
    RemoveForwarding { mac: MacAddress, host: Ipv4Addr },
    RemoveNeighbor { address: Ipv4Addr, mac: MacAddress },
}

/// A change and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is changed.
    pub change: Change,
    /// Why, as a phrase: `new lease of 10.0.0.2`.
    pub reason: String,
}

impl fmt::Display for Change {
    /// The equivalent arguments of `ip` and `bridge`; `$DEV` and `$EXT` are the flannel device and the external interface.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::SetNeighbor { address, mac } => {
                write!(f, "ip neigh replace {address} lladdr {mac} dev $DEV nud permanent")
            }
            Change::RemoveNeighbor { address, mac } => {
                write!(f, "ip neigh del {address} lladdr {mac} dev $DEV")
            }
            Change::SetForwarding { mac, host } => {
                write!(f, "bridge fdb replace {mac} dst {host} dev $DEV self permanent")
            }
            Change::RemoveForwarding { mac, host } => {
                write!(f, "bridge fdb del {mac} dst {host} dev $DEV self")
            }
            Change::SetPeer { key, peer } => {
                write!(f, "wg set $DEV peer {key} endpoint {} allowed-ips {}", peer.endpoint, peer.allowed)?;
                if peer.keepalive > 0 {
                    write!(f, " persistent-keepalive {}", peer.keepalive)?;
                }
                if peer.preshared.is_some() {
                    f.write_str(" preshared-key (hidden)")?;
                }
                Ok(())
            }
            Change::RemovePeer { key } => write!(f, "wg set $DEV peer {key} remove"),
            Change::SetRoute { subnet, route } => write!(f, "ip route replace {subnet}{route}"),
            Change::RemoveRoute { subnet, route } => write!(f, "ip route del {subnet}{route}"),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        match (self.link, self.gateway) {
            (RouteLink::Overlay, Some(_)) => f.write_str(" dev $DEV onlink"),
            (RouteLink::Overlay, None) => f.write_str(" dev $DEV"),
            (RouteLink::External, _) => f.write_str(" dev $EXT"),
        }
    }
}

/// The steps from `observed` to `desired`, in an order in which no packet is lost that both would deliver: each entry is
/// set after those that it refers to, and removed before them. `reasons` explains a change.
pub fn steps(observed: &Tables, desired: &Tables, reasons: &dyn Fn(&Change) -> String) -> Vec<Step> {
    let mut changes = Vec::new();
    for (mac, host) in added(&observed.forwarding, &desired.forwarding) {
        changes.push(Change::SetForwarding { mac: *mac, host: *host });
    }
    for (address, mac) in added(&observed.neighbors, &desired.neighbors) {
        changes.push(Change::SetNeighbor { address: *address, mac: *mac });
    }
    for (key, peer) in added(&observed.peers, &desired.peers) {
        changes.push(Change::SetPeer { key: *key, peer: peer.clone() });
    }
    for (subnet, route) in added(&observed.routes, &desired.routes) {
        changes.push(Change::SetRoute { subnet: *subnet, route: *route });
    }
    for (subnet, route) in removed(&observed.routes, &desired.routes) {
        changes.push(Change::RemoveRoute { subnet: *subnet, route: *route });
    }
    for (key, _) in removed(&observed.peers, &desired.peers) {
        changes.push(Change::RemovePeer { key: *key });
    }
    for (address, mac) in removed(&observed.neighbors, &desired.neighbors) {
        changes.push(Change::RemoveNeighbor { address: *address, mac: *mac });
    }
    for (mac, host) in removed(&observed.forwarding, &desired.forwarding) {
        changes.push(Change::RemoveForwarding { mac: *mac, host: *host });
    }
    changes.into_iter().map(|change| Step { reason: reasons(&change), change }).collect()
}

/// Entries that are missing in `before` or differ.
fn added<'a, K: Ord, V: PartialEq>(
    before: &'a BTreeMap<K, V>,
    after: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    after.iter().filter(|(key, value)| before.get(key) != Some(value))
}

/// Entries whose key `after` lacks.
fn removed<'a, K: Ord, V>(
    before: &'a BTreeMap<K, V>,
    after: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    before.iter().filter(|(key, _)| !after.contains_key(key))
}
