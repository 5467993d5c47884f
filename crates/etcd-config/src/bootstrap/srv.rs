//! `-discovery-srv`: SRV records -> an initial cluster.

use std::collections::BTreeMap;
use std::net::IpAddr;

use thiserror::Error;

use super::event::SrvRecord;
use crate::url::{Scheme, Url};

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SrvError {
    #[error("error querying DNS SRV records for _etcd-server-ssl {tls}; for _etcd-server {plain}")]
    Both { tls: String, plain: String },
    #[error("cannot find local etcd member {0:?} in SRV records")]
    NotFound(String),
}

/// The record that leads to one of our peer URLs gets our name, the others `0`, `1`, ...
/// `must_be_in` is for members; a proxy need not stand among them.
pub fn initial_cluster(
    name: &str,
    advertised: &[Url],
    resolved: &BTreeMap<String, IpAddr>,
    tls: Result<Vec<SrvRecord>, String>,
    plain: Result<Vec<SrvRecord>, String>,
    must_be_in: bool,
) -> Result<String, SrvError> {
    let (tls, plain) = match (tls, plain) {
        (Err(tls), Err(plain)) => return Err(SrvError::Both { tls, plain }),
        (tls, plain) => (tls.unwrap_or_default(), plain.unwrap_or_default()),
    };
    let secured = tls.into_iter().map(|record| (Scheme::Https, record));
    let all = secured.chain(plain.into_iter().map(|record| (Scheme::Http, record)));
    let (mut pairs, mut strangers, mut found) = (Vec::new(), 0, false);
    for (scheme, record) in all {
        let target = record.target.trim_end_matches('.').to_owned();
        let own = advertised.iter().any(|url| {
            let address = resolved.get(&url.host).copied().or_else(|| url.host.parse().ok());
            let same_host = url.host == target || address.is_some_and(|at| record.addresses.contains(&at));
            url.port == record.port && same_host
        });
        let url = Url::new(scheme, target, record.port);
        if own {
            found = true;
            pairs.push(format!("{name}={url}"));
        } else {
            pairs.push(format!("{strangers}={url}"));
            strangers += 1;
        }
    }
    if must_be_in && !found {
        return Err(SrvError::NotFound(name.to_owned()));
    }
    Ok(pairs.join(","))
}
