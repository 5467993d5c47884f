//! Addresses to listen on and to advertise, for clients and peers, from current flags and those of etcd 0.4.

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
        listen_client: CLIENT.listen_urls(raw, public, client_tls, node),
        listen_peer: PEER.listen_urls(raw, public, peer_tls, node),
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

fn at_ports(scheme: Scheme, host: &str, ports: &[u16]) -> Vec<Url> {
    let mut urls: Vec<_> = ports.iter().map(|port| Url::new(scheme, host, *port)).collect();
    urls = sorted(urls);
    urls.dedup();
    urls
}

impl Side {
    fn advertise_urls(&self, raw: &RawConfig, public: Option<IpAddr>, tls: bool) -> Vec<Url> {
        if let Some(addr) = raw.address(self.addr) {
            return vec![url_of(addr, tls, self.ports[0])];
        }
        match public {
            Some(address) => at_ports(scheme(tls), &address.to_string(), &self.ports),
            None => raw.urls(self.advertise),
        }
    }

    fn listen_urls(&self, raw: &RawConfig, public: Option<IpAddr>, tls: bool, node: bool) -> Vec<Url> {
        let (addr, bind) = (raw.address(self.addr), raw.address(self.bind));
        if raw.is_set(self.listen) || (addr.is_none() && bind.is_none() && public.is_none()) {
            return raw.urls(self.listen);
        }
        if public.is_some() {
            return at_ports(scheme(tls), ALL_INTERFACES, &self.ports);
        }
        let named = addr.and_then(|addr| addr.port).unwrap_or(self.ports[0]);
        let bound = match bind {
            Some(bind) => url_of(bind, tls, named),
            None => {
                let configured = addr.and_then(|addr| addr.scheme).unwrap_or(Scheme::Http);
                Url::new(if tls { Scheme::Https } else { configured }, ALL_INTERFACES, named)
            }
        };
        if node {
            let ports = [bound.port, self.ports[0], self.ports[1]];
            return at_ports(bound.scheme, &bound.host, &ports);
        }
        vec![bound]
    }
}

fn scheme(tls: bool) -> Scheme {
    if tls { Scheme::Https } else { Scheme::Http }
}
