//! `-discovery-srv`: initial cluster from SRV records.

use std::collections::BTreeMap;
use std::net::IpAddr;

use thiserror::Error;

use super::event::SrvRecord;
use crate::url::{Scheme, Url};

/// Results of the lookups of `_etcd-server-ssl._tcp` and `_etcd-server._tcp`.
pub struct SrvLookups {
    pub tls: Result<Vec<SrvRecord>, String>,
    pub plain: Result<Vec<SrvRecord>, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SrvError {
    #[error("error querying DNS SRV records for _etcd-server-ssl {tls}; for _etcd-server {plain}")]
    Both { tls: String, plain: String },
    #[error("cannot find local etcd member {0:?} in SRV records")]
    NotFound(String),
}

#[derive(Debug, PartialEq, Eq)]
pub struct SrvCluster {
    /// `name=url,...`
    pub cluster: String,
    /// The host of the local member's record, and its address.
    pub own: Option<(String, IpAddr)>,
    /// Lines for the log.
    pub lines: Vec<String>,
}

/// The record that resolves to one of the advertised peer URLs gets the local name, the others `0`, `1`, ... A member
/// must have a record (`must_be_in`), a proxy need not.
pub fn initial_cluster(
    name: &str,
    advertised: &[Url],
    resolved: &BTreeMap<String, IpAddr>,
    lookups: SrvLookups,
    must_be_in: bool,
) -> Result<SrvCluster, SrvError> {
    let (tls, plain) = match (lookups.tls, lookups.plain) {
        (Err(tls), Err(plain)) => return Err(SrvError::Both { tls, plain }),
        (tls, plain) => (tls.unwrap_or_default(), plain.unwrap_or_default()),
    };
    let secured = tls.into_iter().map(|record| (Scheme::Https, "etcd-server-ssl", record));
    let all = secured.chain(plain.into_iter().map(|record| (Scheme::Http, "etcd-server", record)));
    // The local name may be a number.
    let mut other_names = (0_u32..).map(|number| number.to_string()).filter(|number| number != name);
    let (mut pairs, mut lines, mut own) = (Vec::new(), Vec::new(), None);
    for (scheme, service, record) in all {
        let url = Url::new(scheme, record.target.trim_end_matches('.'), record.port);
        let Some(first) = record.addresses.first() else {
            lines.push(format!("couldn't resolve host {} during SRV discovery", url.authority()));
            continue;
        };
        lines.push(format!("got bootstrap from DNS for {service} at {url}"));
        let own_address = advertised.iter().filter(|one| one.port == record.port).find_map(|one| {
            let address = resolved.get(&one.host).copied().or_else(|| one.host.parse().ok());
            address
                .filter(|at| record.addresses.contains(at))
                .or_else(|| (one.host == url.host).then_some(*first))
        });
        match own_address {
            Some(address) => {
                pairs.push(format!("{name}={url}"));
                own = Some((url.host, address));
            }
            None => pairs.push(format!("{}={url}", other_names.next().unwrap_or_default())),
        }
    }
    if must_be_in && own.is_none() {
        return Err(SrvError::NotFound(name.to_owned()));
    }
    Ok(SrvCluster { cluster: pairs.join(","), own, lines })
}

/// Lines for the log before the program exits with 1.
pub fn failure_lines(error: &SrvError) -> Vec<String> {
    let mut lines = Vec::new();
    if let SrvError::Both { tls, plain } = error {
        lines.push(format!("error querying DNS SRV records for _etcd-server-ssl {tls}"));
        lines.push(format!("error querying DNS SRV records for _etcd-server {plain}"));
        lines.push("SRV discovery failed: too many errors querying DNS SRV records".to_owned());
        lines.push(format!("error setting up initial cluster: {plain}"));
    } else {
        lines.push(format!("error setting up initial cluster: {error}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::parse_list;

    /// `host:port@address`; the address is optional.
    fn records(text: &str) -> Result<Vec<SrvRecord>, String> {
        let record = |text: &str| {
            let (host_port, address) = text.split_once('@').unwrap();
            let (host, port) = host_port.split_once(':').unwrap();
            let addresses = address.split('+').filter_map(|one| one.parse().ok()).collect();
            SrvRecord { target: host.to_owned(), port: port.parse().unwrap(), addresses }
        };
        if let Some(error) = text.strip_prefix('!') {
            return Err(error.to_owned());
        }
        Ok(text.split_whitespace().map(record).collect())
    }

    fn check(name: &str, advertised: &str, tls: &str, plain: &str, expected: &str) {
        let resolved = BTreeMap::from([("core-01".to_owned(), IpAddr::from([10, 0, 0, 1]))]);
        let lookups = SrvLookups { tls: records(tls), plain: records(plain) };
        let named = initial_cluster(name, &parse_list(advertised).unwrap(), &resolved, lookups, true);
        let got = named.map_or_else(|error| error.to_string(), |named| named.cluster);
        assert_eq!(got, expected, "{name} {advertised} {tls} {plain}");
    }

    #[test]
    fn srv_records_become_an_initial_cluster() {
        let three = "a.x.:2380@10.0.0.1 b.x.:2380@10.0.0.2 c.x.:2380@10.0.0.3";
        let all = "m=http://a.x:2380,0=http://b.x:2380,1=http://c.x:2380";
        check("m", "http://10.0.0.1:2380", "!none", three, all);
        check("m", "http://core-01:2380", "!none", three, all);
        check("m", "http://a.x:2380", "!none", three, all);
        check(
            "m",
            "http://10.0.0.1:7001",
            "!none",
            three,
            "cannot find local etcd member \"m\" in SRV records",
        );
        check(
            "m",
            "http://10.0.0.9:2380",
            "!none",
            three,
            "cannot find local etcd member \"m\" in SRV records",
        );
        // TLS records first; each record is a separate member.
        check(
            "m",
            "https://10.0.0.2:2380",
            "a.x.:2380@10.0.0.1 b.x.:2380@10.0.0.2",
            "c.x.:2380@10.0.0.3",
            "0=https://a.x:2380,m=https://b.x:2380,1=http://c.x:2380",
        );
        // A record without an address is skipped.
        check("m", "http://10.0.0.1:2380", "", "a.x.:2380@10.0.0.1 b.x.:2380@", "m=http://a.x:2380");
        // Any address of a host may be the local one.
        check("m", "http://10.0.0.1:1", "!none", "a.x.:1@10.1.1.1+10.0.0.1", "m=http://a.x:1");
        // A numeric local name is not assigned to another record.
        let numbered = "0=http://a.x:2380,1=http://b.x:2380,2=http://c.x:2380";
        check("0", "http://10.0.0.1:2380", "!none", three, numbered);
        check(
            "m",
            "http://10.0.0.1:1",
            "!t",
            "!p",
            "error querying DNS SRV records for _etcd-server-ssl t; for _etcd-server p",
        );
    }
}
