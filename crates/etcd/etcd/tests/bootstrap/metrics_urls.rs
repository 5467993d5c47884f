//! `-listen-metrics-urls`.

use std::path::Path;

use conformance::backend::{in_own_namespaces, resolve_on_loopback};
use conformance::http::{Request, exchange};
use etcd_client::{Client, Config, GetOptions, TlsFiles};

use crate::process::{Etcd, ask, get, try_get};

const METRICS: &str = "127.0.0.1:2381";
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

fn metrics_and_health_only(address: &str) {
    let metrics = get(address, "/metrics");
    assert_eq!(metrics.status, 200, "{}", metrics.text());
    assert!(metrics.text().contains("process_start_time_seconds"), "{}", metrics.text());
    for other in ["/", "/version", "/v2/keys/", "/v2/members", "/metrics/", "/debug/vars"] {
        let response = get(address, other);
        assert_eq!((response.status, response.text()), (404, "404 page not found\n".to_owned()), "{other}");
    }
}

#[test]
fn a_member_without_a_majority_serves_its_metrics() {
    in_own_namespaces("metrics_urls::a_member_without_a_majority_serves_its_metrics", || {
        resolve_on_loopback().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let member = |number: usize| {
            let url = format!("http://127.0.0.{number}");
            let line = format!(
                "-listen-peer-urls {url}:2380 -initial-advertise-peer-urls {url}:2380 \
                 -listen-client-urls {url}:2379 -advertise-client-urls {url}:2379 \
                 -listen-metrics-urls {url}:2381 \
                 -initial-cluster m1=http://127.0.0.1:2380,m2=http://127.0.0.2:2380"
            );
            Etcd::start(folder.path(), &format!("m{number}"), &line)
        };
        let mut first = member(1);
        let alone = first.until("no health", || try_get(METRICS, "/health"));
        assert_eq!((alone.status, alone.text()), (503, "{\"health\": \"false\"}\n".to_owned()));
        metrics_and_health_only(METRICS);
        let advertised = "listening for metrics on http://127.0.0.1:2381";
        assert!(first.log().contains(advertised), "{}", first.log());

        let mut second = member(2);
        first.until_serving("127.0.0.1:2379");
        second.until_serving("127.0.0.2:2379");
        let healthy = get(METRICS, "/health");
        assert_eq!((healthy.status, healthy.text()), (200, "{\"health\": \"true\"}".to_owned()));
        assert_eq!(ask(METRICS, &Request::new("PUT", "/health")).status, 405);
        assert!(get(METRICS, "/metrics").text().contains("etcd_server_has_leader 1"));
        metrics_and_health_only("127.0.0.2:2381");

        let line = "-proxy on -initial-cluster m1=http://127.0.0.1:2380 -listen-client-urls http://127.0.0.9:2379 \
             -listen-peer-urls http://127.0.0.9:2380 -listen-metrics-urls http://127.0.0.9:2381";
        let mut proxy = Etcd::start(folder.path(), "proxy", line);
        proxy.until("the proxy is unhealthy", || {
            try_get("127.0.0.9:2381", "/health").filter(|response| response.status == 200)
        });
        metrics_and_health_only("127.0.0.9:2381");
    });
}

/// A client that trusts only this member's certificate.
fn secured_client(folder: &Path) -> Client {
    let mut config = Config::new(vec!["https://127.0.0.7:2381".parse().unwrap()]);
    config.tls = TlsFiles { ca: Some(folder.join("m/fixtures/client/cert.pem")), ..TlsFiles::default() };
    Client::new(config).unwrap()
}

#[test]
fn https_urls_have_the_certificate_of_clients() {
    in_own_namespaces("metrics_urls::https_urls_have_the_certificate_of_clients", || {
        resolve_on_loopback().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let line = "-auto-tls -enable-pprof -listen-metrics-urls https://127.0.0.7:2381,http://127.0.0.8:2381 \
             -listen-client-urls https://127.0.0.1:2379 -advertise-client-urls https://127.0.0.1:2379";
        let mut member = Etcd::start(folder.path(), "m", line);
        member.until("no metrics", || try_get("127.0.0.8:2381", "/health").filter(|got| got.status == 200));
        let plain =
            exchange("127.0.0.7:2381".parse().unwrap(), &Request::new("GET", "/metrics"), PATIENCE).unwrap();
        assert!(plain.text().contains("Client sent an HTTP request to an HTTPS server"), "{}", plain.text());
        // The handshake succeeds for this address, and the keys are not served.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let keys = runtime.block_on(secured_client(folder.path()).get("/", GetOptions::default()));
        let error = format!("{:?}", keys.unwrap_err());
        assert!(error.contains("404"), "{error}");
        let warned = "has no effect: there is no Go runtime to profile";
        assert!(member.log().contains(warned), "{}", member.log());
    });
}
