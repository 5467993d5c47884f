//! Where to listen and what to publish, for clients and for peers, from flags of both generations.

use std::net::IpAddr;

use super::error::CheckError;
use crate::facts::Facts;
use crate::flag::Address;
use crate::low::Low;
use crate::url::{Scheme, Url, sorted};

/// Set by coreos-setup-environment in `/etc/environment`.
const PRIVATE_ADDRESS_VARIABLE: &str = "COREOS_PRIVATE_IPV4";
/// All interfaces, both families.
const ALL_INTERFACES: &str = "::";

/// The names of one side's flags, and the port of each generation.
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

/// Is any address given, by any of the eight flags?
pub fn any_given(low: &Low) -> bool {
    [CLIENT, PEER]
        .iter()
        .any(|side| [side.listen, side.bind, side.advertise, side.addr].iter().any(|name| low.is_set(name)))
}

pub fn addresses(low: &Low, facts: &Facts, tls: (bool, bool)) -> Result<Addresses, CheckError> {
    let node = low.switch("node-mode");
    let public = if low.is_set("discovery") && !any_given(low) { Some(public_address(facts)?) } else { None };
    let (client_tls, peer_tls) = tls;
    for side in [&PEER, &CLIENT] {
        only_one(low, side.listen, side.bind)?;
        only_one(low, side.advertise, side.addr)?;
    }
    let mut advertise_client = CLIENT.advertised(low, public, client_tls);
    if node && let Some(addr) = low.address(CLIENT.addr) {
        // Both generations' clients find the port they know; today's comes first.
        let first = url_of(addr, client_tls, CLIENT.ports[0]).with_port(CLIENT.ports[0]);
        advertise_client.retain(|url| *url != first);
        advertise_client.insert(0, first);
    }
    Ok(Addresses {
        listen_client: CLIENT.listened(low, public, client_tls, node),
        listen_peer: PEER.listened(low, public, peer_tls, node),
        advertise_client,
        // As named, even on the node: ids are computed from these, and others know us by them.
        advertise_peer: PEER.advertised(low, public, peer_tls),
    })
}

/// An address that other machines reach us by; without it a discovered cluster could never form.
fn public_address(facts: &Facts) -> Result<IpAddr, CheckError> {
    let told = facts.environment.get(PRIVATE_ADDRESS_VARIABLE).filter(|text| !text.is_empty());
    match told {
        Some(text) => text.trim().parse().map_err(|_| CheckError::PrivateAddress(text.clone())),
        None => facts.default_route_address.ok_or(CheckError::NoAddress),
    }
}

fn only_one(low: &Low, urls: &'static str, addr: &'static str) -> Result<(), CheckError> {
    if low.is_set(urls) && low.is_set(addr) {
        return Err(CheckError::OnlyOne(urls, addr));
    }
    Ok(())
}

/// With certificates set, addresses of 0.4's flags are https.
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
    fn advertised(&self, low: &Low, public: Option<IpAddr>, tls: bool) -> Vec<Url> {
        if let Some(addr) = low.address(self.addr) {
            return vec![url_of(addr, tls, self.ports[0])];
        }
        match public {
            Some(address) => at_ports(scheme(tls), &address.to_string(), &self.ports),
            None => low.urls(self.advertise),
        }
    }

    fn listened(&self, low: &Low, public: Option<IpAddr>, tls: bool, node: bool) -> Vec<Url> {
        let (addr, bind) = (low.address(self.addr), low.address(self.bind));
        if low.is_set(self.listen) || (addr.is_none() && bind.is_none() && public.is_none()) {
            return low.urls(self.listen);
        }
        if public.is_some() {
            return at_ports(scheme(tls), ALL_INTERFACES, &self.ports);
        }
        let named = addr.and_then(|addr| addr.port).unwrap_or(self.ports[0]);
        let bound = match bind {
            Some(bind) => url_of(bind, tls, named),
            None => {
                let given = addr.and_then(|addr| addr.scheme).unwrap_or(Scheme::Http);
                Url::new(if tls { Scheme::Https } else { given }, ALL_INTERFACES, named)
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
