//! Tests of lookups over sockets, with a local server.

use std::time::Duration;

use simple_dns::RCODE;

use super::Resolver;
use super::settings::Settings;

#[path = "../tests/kit/zone.rs"]
mod zone;

use zone::{DnsReply, Zone};

fn resolver(zone: &Zone) -> Resolver {
    Resolver::with(Settings {
        servers: vec![zone.address],
        search: Vec::new(),
        dots: 1,
        timeout: Duration::from_millis(300),
        attempts: 1,
    })
}

/// The result of a lookup, one service per line; or the error.
async fn lookup_text(zone: &Zone, service: &str) -> String {
    match resolver(zone).services(service, "example.test").await {
        Ok(services) => {
            let lines: Vec<_> = services.iter().map(|one| format!("{}:{}", one.host, one.port)).collect();
            lines.join("\n")
        }
        Err(error) => error.to_string().replace(&zone.address.to_string(), "SERVER"),
    }
}

fn zone() -> Zone {
    Zone::serve("127.0.0.1:0", |name, kind| {
        assert_eq!(kind, "SRV", "{name}");
        let owned = |(priority, weight, port, target): (u16, u16, u16, &str)| {
            (priority, weight, port, target.to_owned())
        };
        match name {
            "_few._tcp.example.test" => DnsReply::Services(
                [(2, 0, 1, "z.example.test."), (1, 0, 2, "b.example.test."), (1, 9, 3, "c.example.test.")]
                    .map(owned)
                    .to_vec(),
            ),
            "_many._tcp.example.test" => DnsReply::Services(
                (0..40)
                    .map(|number| (0, 0, 2380, format!("member-{number:02}.long.name.example.test.")))
                    .collect(),
            ),
            "_none._tcp.example.test" => DnsReply::Services(vec![owned((0, 0, 0, "."))]),
            "_odd._tcp.example.test" => DnsReply::Services(
                [(0, 0, 1, "a,b=http://x.test."), (0, 0, 1, "good.test.")].map(owned).to_vec(),
            ),
            "_empty._tcp.example.test" => DnsReply::Services(Vec::new()),
            "_broken._tcp.example.test" => DnsReply::Code(RCODE::ServerFailure),
            "_silent._tcp.example.test" => DnsReply::Silence,
            _ => DnsReply::Code(RCODE::NameError),
        }
    })
}

#[tokio::test]
async fn services_are_sorted_by_priority_and_weight() {
    let zone = zone();
    assert_eq!(lookup_text(&zone, "few").await, "c.example.test:3\nb.example.test:2\nz.example.test:1");
    assert_eq!(lookup_text(&zone, "odd").await, "good.test:1");
    assert_eq!(zone.queries(), ["udp SRV _few._tcp.example.test", "udp SRV _odd._tcp.example.test"]);
}

#[tokio::test]
async fn a_truncated_response_is_retried_over_tcp() {
    let zone = zone();
    let all = lookup_text(&zone, "many").await;
    assert_eq!(all.lines().count(), 40, "{all}");
    assert_eq!(zone.queries(), ["udp SRV _many._tcp.example.test", "tcp SRV _many._tcp.example.test"]);
}

#[tokio::test]
async fn missing_records_and_timeouts_differ() {
    let zone = zone();
    for (service, expect) in [
        ("absent", "lookup _absent._tcp.example.test on SERVER: no such host"),
        ("empty", "lookup _empty._tcp.example.test on SERVER: no such host"),
        ("none", "lookup _none._tcp.example.test on SERVER: no such host"),
        ("silent", "lookup _silent._tcp.example.test on SERVER: i/o timeout"),
        ("broken", "lookup _broken._tcp.example.test on SERVER"),
    ] {
        assert_eq!(lookup_text(&zone, service).await, expect);
    }
}
