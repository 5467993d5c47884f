//! Addresses to listen on and to advertise, for clients and peers, from current flags and those of etcd 0.4.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::error::CheckError;
use crate::facts::Facts;
use crate::flag::Address;
use crate::raw_config::RawConfig;
use crate::url::{Scheme, Url, sorted};

/// Set by coreos-setup-environment in `/etc/environment`.
const PRIVATE_ADDRESS_VARIABLE: &str = "COREOS_PRIVATE_IPV4";
/// All interfaces, IPv4 and IPv6.
const ALL_INTERFACES: &str = "::";

/// The flags of client or peer traffic, and the ports of etcd 2 and etcd 0.4.
struct Side {
    listen: &'static str,
    bind: &'static str,
    advertise: &'static str,
    addr: &'static str,
    ports: [u16; 2],
}

const CLIENT: Side = Side {
    listen: "listen-client-urls",
    bind: "bind-addr",
    advertise: "advertise-client-urls",
    addr: "addr",
    ports: [2379, 4001],
};

const PEER: Side = Side {
    listen: "listen-peer-urls",
    bind: "peer-bind-addr",
    advertise: "initial-advertise-peer-urls",
    addr: "peer-addr",
    ports: [2380, 7001],
};

pub struct Addresses {
    pub listen_client: Vec<Url>,
    pub listen_peer: Vec<Url>,
    pub advertise_client: Vec<Url>,
    pub advertise_peer: Vec<Url>,
}

/// Whether any of the eight address flags is set.
pub fn any_set(raw: &RawConfig) -> bool {
    [CLIENT, PEER]
        .iter()
        .any(|side| [side.listen, side.bind, side.advertise, side.addr].iter().any(|name| raw.is_set(name)))
}

pub fn addresses(raw: &RawConfig, facts: &Facts, tls: (bool, bool)) -> Result<Addresses, CheckError> {
    let node = raw.switch("node-mode");
    let public = if raw.is_set("discovery") && !any_set(raw) { Some(public_address(facts)?) } else { None };
    let (client_tls, peer_tls) = tls;
    for side in [&PEER, &CLIENT] {
        only_one(raw, side.listen, side.bind)?;
        only_one(raw, side.advertise, side.addr)?;
    }
    let mut advertise_client = CLIENT.advertise_urls(raw, public, client_tls);
    if node && let Some(addr) = raw.address(CLIENT.addr) {
        // Clients of both generations find their port; the current one comes first.
        let first = url_of(addr, client_tls, CLIENT.ports[0]).with_port(CLIENT.ports[0]);
        advertise_client.retain(|url| *url != first);
        advertise_client.insert(0, first);
    }
    Ok(Addresses {
        listen_client: CLIENT.listen_urls(raw, facts, public, client_tls),
        listen_peer: PEER.listen_urls(raw, facts, public, peer_tls),
        advertise_client,
        // As configured, even on the node: ids are computed from these URLs.
        advertise_peer: PEER.advertise_urls(raw, public, peer_tls),
    })
}

/// An address that other machines can reach; required for discovery.
fn public_address(facts: &Facts) -> Result<IpAddr, CheckError> {
    let advertised = facts.environment.get(PRIVATE_ADDRESS_VARIABLE).filter(|text| !text.is_empty());
    match advertised {
        Some(text) => text.trim().parse().map_err(|_| CheckError::PrivateAddress(text.clone())),
        None => facts.default_route_address.ok_or(CheckError::NoAddress),
    }
}

fn only_one(raw: &RawConfig, urls: &'static str, addr: &'static str) -> Result<(), CheckError> {
    if raw.is_set(urls) && raw.is_set(addr) {
        return Err(CheckError::OnlyOne(urls, addr));
    }
    Ok(())
}

/// With certificates, addresses of 0.4's flags are https.
pub fn url_of(address: &Address, tls: bool, default_port: u16) -> Url {
    let scheme = if tls { Scheme::Https } else { address.scheme.unwrap_or(Scheme::Http) };
    Url::new(scheme, address.host.clone(), address.port.unwrap_or(default_port))
}

fn at_ports(scheme: Scheme, hosts: &[String], ports: &[u16]) -> Vec<Url> {
    let of_host = |host: &String| ports.iter().map(|port| Url::new(scheme, host, *port)).collect::<Vec<_>>();
    let mut urls = sorted(hosts.iter().flat_map(of_host).collect());
    urls.dedup();
    urls
}

impl Side {
    fn advertise_urls(&self, raw: &RawConfig, public: Option<IpAddr>, tls: bool) -> Vec<Url> {
        if let Some(addr) = raw.address(self.addr) {
            return vec![url_of(addr, tls, self.ports[0])];
        }
        match public {
            Some(address) => at_ports(scheme(tls), &[address.to_string()], &self.ports),
            None => raw.urls(self.advertise),
        }
    }

    fn listen_urls(&self, raw: &RawConfig, facts: &Facts, public: Option<IpAddr>, tls: bool) -> Vec<Url> {
        let (addr, bind) = (raw.address(self.addr), raw.address(self.bind));
        let port = addr.and_then(|addr| addr.port).unwrap_or(self.ports[0]);
        let first = match (bind.or(addr), public) {
            _ if raw.is_set(self.listen) => return raw.urls(self.listen),
            (Some(address), _) => url_of(address, tls, port),
            (None, Some(public)) => Url::new(scheme(tls), public.to_string(), port),
            (None, None) => return raw.urls(self.listen),
        };
        let node = raw.switch("node-mode");
        let hosts = match bind {
            Some(_) => vec![first.host],
            None if node => on_node(facts, &first.host),
            None => vec![ALL_INTERFACES.to_owned()],
        };
        let mut ports = vec![first.port];
        if node || public.is_some() {
            ports.extend(self.ports);
        }
        at_ports(first.scheme, &hosts, &ports)
    }
}

/// Hosts on which a node listens that advertises this one: loopback and the advertised address, so that the machine's
/// other networks do not reach the store. All interfaces if the machine does not have the address: it is a name, or
/// that of a NAT.
fn on_node(facts: &Facts, advertised: &str) -> Vec<String> {
    let addresses = &facts.interface_addresses;
    match advertised.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() || addresses.contains(&address) => {
            let listens = |other: &&IpAddr| other.is_loopback() || **other == address;
            let hosts: BTreeSet<String> =
                addresses.iter().filter(listens).chain([&address]).map(ToString::to_string).collect();
            hosts.into_iter().collect()
        }
        _ => vec![ALL_INTERFACES.to_owned()],
    }
}

fn scheme(tls: bool) -> Scheme {
    if tls { Scheme::Https } else { Scheme::Http }
}
