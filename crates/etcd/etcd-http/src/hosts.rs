//! `-host-whitelist`: host names under which unencrypted requests are served, against DNS rebinding (CVE-2018-1099).
//!
//! A web page whose name is made to resolve to the member's address is of the same origin as its API for the browser,
//! which then sends the page's name as host. Addresses, names that are not in the public DNS, and the member's own names
//! cannot be such a page.

use std::collections::BTreeSet;

use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode};

use crate::response::{self, HttpResponse};
use crate::server::Peer;

/// Domains that are not in the public DNS: reserved (RFC 6761, RFC 6762, RFC 8375, `internal` by ICANN), or in common use
/// by networks and not delegated.
const PRIVATE: [&str; 12] = [
    ".localhost",
    ".local",
    ".internal",
    ".home.arpa",
    ".test",
    ".invalid",
    ".example",
    ".lan",
    ".home",
    ".corp",
    ".svc",
    ".consul",
];
/// Allows every name.
const ANY: &str = "*";

/// Names of hosts under which requests without TLS are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// In lower case.
    names: BTreeSet<String>,
}

impl Hosts {
    /// Takes host names or addresses, or `*`.
    pub fn new<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Hosts {
        Hosts { names: names.into_iter().map(|name| canonical(name.as_ref())).collect() }
    }

    /// A response if the request is to a name of another host.
    pub(crate) fn refuse<T>(&self, peer: Peer, request: &Request<T>) -> Option<HttpResponse> {
        if peer.secure || self.names.contains(ANY) {
            return None;
        }
        // HTTP/1.0 and an empty header name no host.
        let header = request.headers().get(HOST).filter(|host| !host.is_empty());
        let authority = header.map(|host| Authority::try_from(host.as_bytes()));
        // An absolute URI takes precedence (RFC 9112, 3.2.2).
        let host = match (request.uri().host(), &authority) {
            (Some(host), _) => host,
            (None, Some(Ok(authority))) => authority.host(),
            (None, Some(Err(_))) => "",
            (None, None) => return None,
        };
        (!self.allows(host)).then(|| {
            let text = format!(
                "host {host:?} is not a name of this etcd member: use its address or https, or start etcd with \
                 -host-whitelist={host}\n"
            );
            response::plain_error(StatusCode::MISDIRECTED_REQUEST, text)
        })
    }

    fn allows(&self, host: &str) -> bool {
        if host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok() {
            return true;
        }
        let host = canonical(host);
        let is_single = !host.is_empty() && !host.contains('.');
        is_single || PRIVATE.iter().any(|domain| host.ends_with(domain)) || self.names.contains(&host)
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_in_the_public_dns_are_refused_unless_they_are_the_members() {
        let hosts = Hosts::new(["etcd.example.com.", "10.0.0.1"]);
        let check = |host: &str, allowed: bool| assert_eq!(hosts.allows(host), allowed, "{host}");
        for host in [
            "127.0.0.1",
            "192.168.3.4",
            "[::1]",
            "localhost",
            "core-01",
            "ETCD.example.com",
            "etcd.example.com.",
        ] {
            check(host, true);
        }
        for host in ["etcd.default.svc.cluster.local", "host.docker.internal", "a.localhost"] {
            check(host, true);
        }
        for host in
            ["rebind.example.org", "example.com", "127.0.0.1.example.org", "local.example.org", "", "."]
        {
            check(host, false);
        }
    }

    #[test]
    fn the_host_is_that_of_the_uri_or_the_header() {
        let peer = |secure| Peer { address: ([127, 0, 0, 1], 1).into(), secure };
        let is_refused = |hosts: &Hosts, uri: &str, host: Option<&str>, secure: bool| {
            let mut request = Request::builder().uri(uri);
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            hosts.refuse(peer(secure), &request.body(()).unwrap()).map(|response| response.status().as_u16())
        };
        let none = Hosts::default();
        assert_eq!(is_refused(&none, "/version", Some("rebind.example.org:2379"), false), Some(421));
        assert_eq!(is_refused(&none, "/version", Some("rebind.example.org:2379"), true), None);
        assert_eq!(is_refused(&none, "/version", Some("10.1.1.1:2379"), false), None);
        assert_eq!(is_refused(&none, "/version", Some("[2001:db8::1]:2379"), false), None);
        assert_eq!(is_refused(&none, "/version", None, false), None);
        assert_eq!(is_refused(&none, "/version", Some(""), false), None);
        assert_eq!(is_refused(&none, "/version", Some("a b"), false), Some(421));
        assert_eq!(
            is_refused(&none, "http://rebind.example.org/version", Some("10.1.1.1"), false),
            Some(421)
        );
        assert_eq!(is_refused(&none, "http://10.1.1.1/version", Some("rebind.example.org"), false), None);
        assert_eq!(is_refused(&Hosts::new(["*"]), "/version", Some("rebind.example.org"), false), None);
    }
}
