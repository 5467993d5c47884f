//! Which of the ways into a cluster was asked for.

use std::path::Path;

use super::address;
use super::error::CheckError;
use crate::config::{ClusterState, Fallback, Founding};
use crate::facts::Facts;
use crate::flag::{Address, Kind, Value, value};
use crate::low::Low;
use crate::url::{Url, sorted};

/// The port of peers whose port is not said.
const PEER_PORT: u16 = 7001;

pub struct Found {
    pub founding: Founding,
    pub warnings: Vec<String>,
}

/// At most one of them. 0.4's `-peers` may stand beside discovery, which wins, as it did there.
pub fn check_ways(low: &Low) -> Result<(), CheckError> {
    let ways = ["initial-cluster", "discovery", "discovery-srv"];
    let given = ways.iter().filter(|way| low.is_set(way)).count();
    let peers = (low.is_set("peers") || low.is_set("peers-file")) && !low.is_set("discovery");
    if given + usize::from(peers) > 1 { Err(CheckError::ManyWays) } else { Ok(()) }
}

pub fn founding(
    low: &Low,
    facts: &Facts,
    name: &str,
    advertise_peer: &[Url],
    peer_tls: bool,
) -> Result<Found, CheckError> {
    let mut warnings = Vec::new();
    let token = low.text("initial-cluster-token").unwrap_or_default();
    let state = match low.text("initial-cluster-state").as_deref() {
        Some("existing") => ClusterState::Existing,
        _ => ClusterState::New,
    };
    let listed = listed_peers(low, facts)?;
    let founding = if low.is_set("discovery") {
        if listed.is_some() {
            warnings.push("-peers is ignored: -discovery is given".to_owned());
        }
        Founding::Discovery {
            url: low.text("discovery").unwrap_or_default(),
            proxy: low.text("discovery-proxy"),
            fallback: match low.text("discovery-fallback").as_deref() {
                Some("exit") => Fallback::Exit,
                _ => Fallback::Proxy,
            },
        }
    } else if let Some(listed) = listed {
        let listed: Vec<_> = listed.iter().map(|peer| address::url_of(peer, peer_tls, PEER_PORT)).collect();
        let mut listed = sorted(listed);
        listed.dedup();
        Founding::Peers { listed, token }
    } else if low.is_set("discovery-srv") {
        Founding::Srv { domain: low.text("discovery-srv").unwrap_or_default(), state, token }
    } else {
        Founding::Static { cluster: static_cluster(low, name, advertise_peer), state, token }
    };
    Ok(Found { founding, warnings })
}

/// What was given; else with 0.4's `-peer-addr` a cluster of this one; else 2.x's default for the name.
fn static_cluster(low: &Low, name: &str, advertise_peer: &[Url]) -> String {
    if let Some(given) = low.text("initial-cluster").filter(|_| low.is_set("initial-cluster")) {
        return given;
    }
    let urls = if low.is_set("peer-addr") {
        advertise_peer.to_vec()
    } else {
        low.urls_by_default("listen-peer-urls")
    };
    urls.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(",")
}

/// `None` where neither flag names a peer.
fn listed_peers(low: &Low, facts: &Facts) -> Result<Option<Vec<Address>>, CheckError> {
    let mut listed = low.addresses("peers").to_vec();
    if let Some(path) = low.text("peers-file") {
        let unreadable = |reason: String| CheckError::PeersFile(path.clone(), reason);
        let text = match facts.files.get(Path::new(&path)) {
            Some(Ok(text)) => text,
            Some(Err(reason)) => return Err(unreadable(reason.clone())),
            None => return Err(unreadable("it was not read".to_owned())),
        };
        match value::parse(Kind::Addresses, text).map_err(|error| unreadable(error.to_string()))? {
            Value::Addresses(more) => listed.extend(more),
            other => return Err(unreadable(format!("not a list of addresses: {other:?}"))),
        }
    }
    Ok(if listed.is_empty() { None } else { Some(listed) })
}
