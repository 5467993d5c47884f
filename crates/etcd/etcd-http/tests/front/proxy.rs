//! The proxy with members that stop and start.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_api::Member;
use etcd_http::backend::Backend;
use etcd_http::proxy::{Dial, Proxy, ProxySettings};
use etcd_http::server::Running;
use etcd_http::tls::{ClientTls, ServerTls, ServerVerification, TlsFiles};
use etcd_http::{Cors, Front, Hosts, Local};
use tokio::runtime::Runtime;

use crate::site::{self, Client, FORM, Response, TIMEOUT};
use crate::tls;

const WAIT: Duration = Duration::from_millis(300);

/// Front ends over one store, and a proxy.
struct Cluster {
    runtime: Runtime,
    local: Local,
    members: Vec<Option<Running>>,
    peers: Running,
    proxy: Running,
    folder: tempfile::TempDir,
}

/// An unused address.
fn free_address() -> SocketAddr {
    loopback_port::reserve().unwrap()
}

fn proxy_settings(peers: Vec<String>, saved: PathBuf, read_only: bool) -> ProxySettings {
    ProxySettings {
        read_only,
        peer_urls: peers,
        failure_wait: WAIT,
        refresh_interval: Duration::from_secs(30),
        dial: Dial {
            dial_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(5),
            read_timeout: Duration::ZERO,
            tls: None,
        },
        saved: Some(saved),
        cors: Cors::default(),
        hosts: Hosts::default(),
    }
}

impl Cluster {
    fn start(count: usize, read_only: bool) -> Cluster {
        let runtime = site::runtime();
        let addresses: Vec<SocketAddr> = (0..count).map(|_| free_address()).collect();
        let peer_address = free_address();
        let local = Local::new(
            Member {
                id: site::MEMBER_ID,
                name: "n1".to_owned(),
                peer_urls: vec![format!("http://{peer_address}")],
                client_urls: addresses.iter().map(|address| format!("http://{address}")).collect(),
            },
            site::CLUSTER_ID,
        );
        let front = Arc::new(Front::new(local.clone(), site::settings()).unwrap());
        let members =
            addresses.iter().map(|address| Some(listen(&runtime, *address, Arc::clone(&front)))).collect();
        let peers = listen(&runtime, peer_address, Arc::new(front.for_peers()));
        let folder = tempfile::tempdir().unwrap();
        let saved = folder.path().join("proxy/cluster");
        let settings = proxy_settings(vec![format!("http://{peer_address}")], saved, read_only);
        let proxy = {
            let _inside = runtime.enter();
            Proxy::start(settings).unwrap()
        };
        let proxy = site::start(&runtime, proxy, None);
        let cluster = Cluster { runtime, local, members, peers, proxy, folder };
        cluster.until_endpoints(count);
        cluster
    }

    fn connect(&self) -> Client {
        Client::connect(self.proxy.addresses()[0])
    }

    fn send_request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut client = self.connect();
        client.send(method, target, headers, body);
        client.response_to(method)
    }

    fn endpoints(&self) -> String {
        self.send_request("GET", "/v2/config/local/proxy", &[], "").body
    }

    fn until_endpoints(&self, count: usize) {
        let began = Instant::now();
        while self.endpoints().matches("http://").count() != count {
            assert!(began.elapsed() < TIMEOUT, "{}", self.endpoints());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn stop_member(&mut self, number: usize) -> SocketAddr {
        let running = self.members[number].take().unwrap();
        let address = running.addresses()[0];
        self.runtime.block_on(running.stop(Duration::from_secs(5)));
        address
    }
}

fn listen<H: etcd_http::server::Handler>(runtime: &Runtime, address: SocketAddr, handler: Arc<H>) -> Running {
    use etcd_http::server::{Listener, serve};
    let _inside = runtime.enter();
    serve(vec![Listener::bind(address, None).unwrap()], handler, 1_000).unwrap()
}

#[test]
fn requests_are_forwarded_completely() {
    let cluster = Cluster::start(3, false);
    let mut client = cluster.connect();
    for number in 0..50 {
        client.send("PUT", "/v2/keys/a?prevExist=", &[FORM], "value=x");
        assert_eq!(client.response_to("PUT").status, 400, "errors pass, and are not tried elsewhere");
        client.send("PUT", "/v2/keys/a%20b", &[FORM], &format!("value={number}"));
        assert!(client.response_to("PUT").status < 300);
        client.send("GET", "/v2/keys/a%20b?quorum=true", &[], "");
        let read = client.response_to("GET");
        assert!(read.body.contains(&format!("\"value\":\"{number}\"")), "{}", read.body);
        assert_eq!(read.header("X-Etcd-Cluster-Id"), Some("7e27652122e8b2ae"));
    }
    assert_eq!(cluster.send_request("HEAD", "/v2/keys/a%20b", &[], "").status, 200);
    let large = "v".repeat(1 << 20);
    assert_eq!(cluster.send_request("PUT", "/v2/keys/large", &[FORM], &format!("value={large}")).status, 201);
    assert!(cluster.send_request("GET", "/v2/keys/large", &[], "").body.contains(&large));
    assert!(cluster.send_request("GET", "/metrics", &[], "").body.contains("process_open_fds"));
    assert!(cluster.peers.connections() > 0);
}

#[test]
fn stopped_members_are_skipped() {
    let mut cluster = Cluster::start(3, false);
    let put = |cluster: &Cluster| cluster.send_request("PUT", "/v2/keys/a", &[FORM], "value=x");
    assert_eq!(put(&cluster).status, 201);
    let first = cluster.stop_member(0);
    for _ in 0..10 {
        assert_eq!(put(&cluster).status, 200);
    }
    cluster.stop_member(1);
    for _ in 0..10 {
        assert_eq!(put(&cluster).status, 200);
    }
    cluster.stop_member(2);
    // Endpoints that had not failed are tried, and fail.
    std::thread::sleep(WAIT);
    let none = put(&cluster);
    assert_eq!(none.status, 502);
    assert_eq!(none.body, r#"{"message":"proxy: unable to get response from 3 endpoint(s)"}"#);
    let none = put(&cluster);
    assert_eq!(
        (none.status, none.body.as_str()),
        (503, r#"{"message":"proxy: zero endpoints currently available"}"#)
    );
    let front = Arc::new(Front::new(cluster.local.clone(), site::settings()).unwrap());
    cluster.members[0] = Some(listen(&cluster.runtime, first, front));
    let began = Instant::now();
    while put(&cluster).status != 200 {
        assert!(began.elapsed() < TIMEOUT);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn watches_are_forwarded_until_the_reader_disconnects() {
    let cluster = Cluster::start(2, false);
    let mut watching = cluster.connect();
    watching.send("GET", "/v2/keys/a?wait=true&stream=true", &[], "");
    assert_eq!(watching.head().status, 200);
    for number in 0..3 {
        cluster.send_request("PUT", "/v2/keys/a", &[FORM], &format!("value={number}"));
        assert!(watching.chunk().unwrap().contains(&format!("\"value\":\"{number}\"")));
    }
    assert_eq!(cluster.local.watchers(), 1);
    drop(watching);
    let began = Instant::now();
    while cluster.local.watchers() > 0 {
        assert!(began.elapsed() < TIMEOUT, "the member still holds the watch");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A member with TLS that requires a certificate of `authority`.
struct Secured {
    runtime: Runtime,
    peer_url: String,
    _running: [Running; 2],
}

impl Secured {
    fn start(files: TlsFiles) -> Secured {
        use etcd_http::server::{Listener, serve};
        let tls = Arc::new(ServerTls::load(files).unwrap());
        let runtime = site::runtime();
        let (address, peer_address) = (free_address(), free_address());
        let peer_url = format!("https://{peer_address}");
        let member = Member {
            id: site::MEMBER_ID,
            name: "n1".to_owned(),
            peer_urls: vec![peer_url.clone()],
            client_urls: vec![format!("https://{address}")],
        };
        let front = Front::new(Local::new(member, site::CLUSTER_ID), site::settings()).unwrap();
        let front = Arc::new(front);
        let inside = runtime.enter();
        let listener = |address| vec![Listener::bind(address, Some(Arc::clone(&tls))).unwrap()];
        let peers = serve(listener(peer_address), Arc::new(front.for_peers()), 100).unwrap();
        let members = serve(listener(address), front, 100).unwrap();
        drop(inside);
        Secured { runtime, peer_url, _running: [peers, members] }
    }

    fn proxy(&self, folder: &std::path::Path, tls: ClientTls) -> Running {
        let mut settings = proxy_settings(vec![self.peer_url.clone()], folder.join("proxy/cluster"), false);
        settings.dial.tls = Some(Arc::new(tls));
        settings.refresh_interval = WAIT;
        let inside = self.runtime.enter();
        let proxy = Proxy::start(settings).unwrap();
        drop(inside);
        site::start(&self.runtime, proxy, None)
    }
}

/// The status of a request, once it is `wanted` or `timeout` has elapsed.
fn status_of(proxy: &Running, wanted: u16, timeout: Duration) -> u16 {
    let began = Instant::now();
    loop {
        let mut client = Client::connect(proxy.addresses()[0]);
        client.send("GET", "/v2/keys", &[], "");
        let status = client.response_to("GET").status;
        if status == wanted || began.elapsed() > timeout {
            return status;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn members_with_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (own_files, other) = (tls::authority("own"), tls::authority("other"));
    let trusted = tls::write_authority(folder.path(), "own", &own_files);
    let untrusted = tls::write_authority(folder.path(), "other", &other);
    let files = tls::issue(folder.path(), "server", &own_files, false);
    let client = tls::issue(folder.path(), "client", &own_files, false);
    let member =
        Secured::start(TlsFiles { authority: Some(trusted.clone()), client_certificates: true, ..files });
    let status = |verification: ServerVerification, own_files: Option<&TlsFiles>| {
        let proxy =
            member.proxy(folder.path(), ClientTls::verifying(verification, own_files.cloned()).unwrap());
        status_of(&proxy, 200, Duration::from_secs(2))
    };
    assert_eq!(status(ServerVerification::Authority(trusted.clone()), Some(&client)), 200);
    // Without a certificate the proxy gets no member list, and has no endpoints.
    assert_eq!(status(ServerVerification::Authority(trusted), None), 503);
    // A member with a certificate of another CA is rejected unless verification is disabled.
    assert_eq!(status(ServerVerification::Authority(untrusted), Some(&client)), 503);
    assert_eq!(status(ServerVerification::Disabled, Some(&client)), 200);
}

#[test]
fn changed_certificates_are_used_for_members() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (tls::authority("old"), tls::authority("new"));
    let (old_folder, new_folder) = (folder.path().join("old"), folder.path().join("new"));
    fs::create_dir(&old_folder).unwrap();
    fs::create_dir(&new_folder).unwrap();
    let trusted = tls::write_authority(&old_folder, "trusted", &old);
    let client = tls::issue(&old_folder, "client", &old, false);
    let new_trusted = tls::write_authority(&new_folder, "trusted", &new);
    let member = Secured::start(TlsFiles {
        authority: Some(new_trusted.clone()),
        client_certificates: true,
        ..tls::issue(&new_folder, "server", &new, false)
    });
    let verifying =
        ClientTls::verifying(ServerVerification::Authority(trusted.clone()), Some(client.clone())).unwrap();
    let proxy = member.proxy(folder.path(), verifying);
    assert_eq!(status_of(&proxy, 200, Duration::from_secs(1)), 503, "the member has an authority of its own");
    let fresh = tls::issue(&new_folder, "client", &new, false);
    for (from, to) in
        [(&new_trusted, &trusted), (&fresh.certificate, &client.certificate), (&fresh.key, &client.key)]
    {
        fs::copy(from, to).unwrap();
    }
    assert_eq!(status_of(&proxy, 200, TIMEOUT), 200);
}

#[test]
fn read_only() {
    let cluster = Cluster::start(1, true);
    for method in ["PUT", "POST", "DELETE", "HEAD"] {
        let response = cluster.send_request(method, "/v2/keys/a", &[], "");
        assert_eq!((response.status, response.body.as_str()), (501, ""), "{method}");
    }
    assert_eq!(cluster.send_request("GET", "/v2/keys/a", &[], "").status, 404);
}

#[test]
fn the_saved_cluster_takes_precedence_over_flags() {
    let cluster = Cluster::start(1, false);
    let saved = cluster.folder.path().join("proxy/cluster");
    // The URL in the flags is that of the cluster, so nothing is saved. The next start uses an alias:
    let peer = cluster.peers.addresses()[0];
    let by_name = format!("http://localhost:{}", peer.port());
    let start = |peers: Vec<String>| {
        let _inside = cluster.runtime.enter();
        let proxy = Proxy::start(proxy_settings(peers, saved.clone(), false)).unwrap();
        drop(_inside);
        site::start(&cluster.runtime, proxy, None)
    };
    let send_request = |running: &Running| {
        let mut client = Client::connect(running.addresses()[0]);
        client.send("GET", "/v2/keys", &[], "");
        client.response_to("GET").status
    };
    let until = |running: &Running| {
        let began = Instant::now();
        while send_request(running) != 200 {
            assert!(began.elapsed() < TIMEOUT, "no endpoints");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    until(&start(vec![by_name]));
    let text = fs::read_to_string(&saved).unwrap();
    assert_eq!(text, format!("{{\"PeerURLs\":[\"http://{peer}\"]}}"));
    until(&start(vec!["http://127.0.0.1:1".to_owned()]));
    fs::write(&saved, "nonsense").unwrap();
    let _inside = cluster.runtime.enter();
    let error = Proxy::start(proxy_settings(Vec::new(), saved, false)).unwrap_err();
    assert!(
        std::error::Error::source(&error).unwrap().to_string().contains("is not the JSON of a saved cluster")
    );
}
