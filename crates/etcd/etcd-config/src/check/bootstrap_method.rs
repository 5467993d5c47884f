//! Selects the bootstrap method.

use std::path::Path;

use super::address;
use super::error::CheckError;
use crate::config::{BootstrapMethod, ClusterState, Fallback};
use crate::facts::Facts;
use crate::flag::{Address, Value, ValueKind, value};
use crate::raw_config::RawConfig;
use crate::url::{Url, sorted};

/// Default port of peers.
const PEER_PORT: u16 = 7001;

pub struct Selection {
    pub method: BootstrapMethod,
    pub warnings: Vec<String>,
}

/// At most one method. 0.4's `-peers` is allowed with discovery, which takes precedence as in 0.4.
pub fn check_single_method(raw: &RawConfig) -> Result<(), CheckError> {
    let methods = ["initial-cluster", "discovery", "discovery-srv"];
    let set = methods.iter().filter(|method| raw.is_set(method)).count();
    let peers = (raw.is_set("peers") || raw.is_set("peers-file")) && !raw.is_set("discovery");
    if set + usize::from(peers) > 1 { Err(CheckError::SeveralMethods) } else { Ok(()) }
}

pub fn select(
    raw: &RawConfig,
    facts: &Facts,
    name: &str,
    advertise_peer: &[Url],
    peer_tls: bool,
) -> Result<Selection, CheckError> {
    let mut warnings = Vec::new();
    let token = raw.text("initial-cluster-token").unwrap_or_default();
    let state = match raw.text("initial-cluster-state").as_deref() {
        Some("existing") => ClusterState::Existing,
        _ => ClusterState::New,
    };
    let listed = listed_peers(raw, facts)?;
    let method = if raw.is_set("discovery") {
        if listed.is_some() {
            warnings.push("-peers is ignored: -discovery is given".to_owned());
        }
        BootstrapMethod::Discovery {
            url: raw.text("discovery").unwrap_or_default(),
            proxy: raw.text("discovery-proxy"),
            fallback: match raw.text("discovery-fallback").as_deref() {
                Some("exit") => Fallback::Exit,
                _ => Fallback::Proxy,
            },
        }
    } else if let Some(listed) = listed {
        let listed: Vec<_> = listed.iter().map(|peer| address::url_of(peer, peer_tls, PEER_PORT)).collect();
        let mut listed = sorted(listed);
        listed.dedup();
        BootstrapMethod::Peers { listed, token }
    } else if raw.is_set("discovery-srv") {
        BootstrapMethod::Srv { domain: raw.text("discovery-srv").unwrap_or_default(), state, token }
    } else {
        BootstrapMethod::Static { cluster: static_cluster(raw, name, advertise_peer), state, token }
    };
    Ok(Selection { method, warnings })
}

/// The flag's value; with 0.4's `-peer-addr` a single-member cluster; otherwise 2.x's default for the name.
fn static_cluster(raw: &RawConfig, name: &str, advertise_peer: &[Url]) -> String {
    if let Some(cluster) = raw.text("initial-cluster").filter(|_| raw.is_set("initial-cluster")) {
        return cluster;
    }
    let urls = if raw.is_set("peer-addr") {
        advertise_peer.to_vec()
    } else {
        raw.urls_by_default("listen-peer-urls")
    };
    urls.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(",")
}

/// `None` if neither flag lists a peer.
fn listed_peers(raw: &RawConfig, facts: &Facts) -> Result<Option<Vec<Address>>, CheckError> {
    let mut listed = raw.addresses("peers").to_vec();
    if let Some(path) = raw.text("peers-file") {
        let unreadable = |reason: String| CheckError::PeersFile(path.clone(), reason);
        let text = match facts.files.get(Path::new(&path)) {
            Some(Ok(text)) => text,
            Some(Err(reason)) => return Err(unreadable(reason.clone())),
            None => return Err(unreadable("it was not read".to_owned())),
        };
        match value::parse(ValueKind::Addresses, text).map_err(|error| unreadable(error.to_string()))? {
            Value::Addresses(more) => listed.extend(more),
            other => return Err(unreadable(format!("not a list of addresses: {other:?}"))),
        }
    }
    Ok(if listed.is_empty() { None } else { Some(listed) })
}
