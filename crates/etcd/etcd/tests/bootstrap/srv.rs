//! `-discovery-srv`: members in DNS.

use conformance::backend::{in_own_namespaces, resolve_on_loopback};
use simple_dns::RCODE;

use crate::process::{Etcd, get, put, try_get};
use crate::zone::{DnsReply, Zone};

/// `m1.cluster.test` to `m3.cluster.test` at 127.0.0.1 to 127.0.0.3.
fn zone() -> Zone {
    Zone::serve("127.0.0.1:53", |name, kind| match (name, kind) {
        ("_etcd-server._tcp.cluster.test", "SRV") => {
            let record = |number| (0, 0, 2380, format!("m{number}.cluster.test."));
            DnsReply::Services((1..=3).map(record).collect())
        }
        (name, kind) => {
            let host = name.strip_suffix(".cluster.test").and_then(|host| host.strip_prefix('m'));
            match (host.and_then(|number| number.parse().ok()), kind) {
                (Some(number @ 1..=3), "A") => DnsReply::Address([127, 0, 0, number].into()),
                (Some(1..=3), _) => DnsReply::Code(RCODE::NoError),
                _ => DnsReply::Code(RCODE::NameError),
            }
        }
    })
}

/// The second member advertises its name, the others their addresses.
fn member(folder: &std::path::Path, number: usize, domain: &str) -> Etcd {
    let address = format!("127.0.0.{number}");
    let peer = if number == 2 { "m2.cluster.test".to_owned() } else { address.clone() };
    Etcd::start(
        folder,
        &format!("core-{number}"),
        &format!(
            "-discovery-srv {domain} -initial-advertise-peer-urls http://{peer}:2380 \
             -listen-peer-urls http://{address}:2380 -listen-client-urls http://{address}:2379 \
             -advertise-client-urls http://{address}:2379"
        ),
    )
}

#[test]
fn three_members_and_a_proxy_find_each_other_by_dns() {
    in_own_namespaces("srv::three_members_and_a_proxy_find_each_other_by_dns", || {
        resolve_on_loopback().unwrap();
        let zone = zone();
        let folder = tempfile::tempdir().unwrap();
        let mut members: Vec<_> =
            (1..=3).map(|number| member(folder.path(), number, "cluster.test")).collect();
        for (member, number) in members.iter_mut().zip(1..) {
            member.until_serving(&format!("127.0.0.{number}:2379"));
        }
        assert_eq!(put("127.0.0.1:2379", "/v2/keys/a", "value=by-dns").status, 201);
        let read = get("127.0.0.3:2379", "/v2/keys/a?quorum=true");
        assert!(read.text().contains("by-dns"), "{}", read.text());
        let listed = members[0].until("not all have told their names", || {
            let listed = get("127.0.0.1:2379", "/v2/members").text();
            (1..=3).all(|number| listed.contains(&format!("\"name\":\"core-{number}\""))).then_some(listed)
        });
        for number in 1..=3 {
            assert!(listed.contains(&format!("http://m{number}.cluster.test:2380")), "{listed}");
        }
        let log = members[0].log();
        assert!(
            log.contains("got bootstrap from DNS for etcd-server at http://m2.cluster.test:2380"),
            "{log}"
        );
        let queries = zone.queries();
        let first: Vec<_> = queries.iter().filter(|one| one.contains(" SRV ")).map(String::as_str).collect();
        assert!(first.contains(&"udp SRV _etcd-server-ssl._tcp.cluster.test"), "{first:?}");

        let line = "-proxy on -discovery-srv cluster.test -listen-client-urls http://127.0.0.9:2379 \
             -listen-peer-urls http://127.0.0.9:2380";
        let mut proxy = Etcd::start(folder.path(), "proxy", line);
        let passed = proxy.until("nothing passes", || {
            try_get("127.0.0.9:2379", "/v2/keys/a").filter(|response| response.status == 200)
        });
        assert!(passed.text().contains("by-dns"), "{}", passed.text());

        // A member with data does not query DNS.
        members[1].kill();
        members[1] = member(folder.path(), 2, "absent.test");
        members[1].until_serving("127.0.0.2:2379");
        assert!(!zone.queries().iter().any(|one| one.contains("absent.test")), "{:?}", zone.queries());
    });
}

#[test]
fn a_domain_that_names_no_members_ends_the_start() {
    in_own_namespaces("srv::a_domain_that_names_no_members_ends_the_start", || {
        resolve_on_loopback().unwrap();
        let _zone = zone();
        let folder = tempfile::tempdir().unwrap();
        let mut absent = member(folder.path(), 1, "absent.test");
        assert_eq!(absent.end().code(), Some(1), "{}", absent.log());
        for line in [
            "error querying DNS SRV records for _etcd-server-ssl lookup _etcd-server-ssl._tcp.absent.test on 127.0.0.1:53: no such host",
            "error querying DNS SRV records for _etcd-server lookup _etcd-server._tcp.absent.test on 127.0.0.1:53: no such host",
            "SRV discovery failed: too many errors querying DNS SRV records",
            "error setting up initial cluster: lookup _etcd-server._tcp.absent.test on 127.0.0.1:53: no such host",
        ] {
            assert!(absent.log().contains(line), "{line} is not in:\n{}", absent.log());
        }
        let mut unknown_member = member(folder.path(), 4, "cluster.test");
        assert_eq!(unknown_member.end().code(), Some(1), "{}", unknown_member.log());
        let text = "cannot find local etcd member \"core-4\" in SRV records";
        assert!(unknown_member.log().contains(text), "{}", unknown_member.log());
    });
}
