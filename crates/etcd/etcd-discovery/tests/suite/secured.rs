//! Tests with https, and with an upstream etcd over https.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use authority::{Authority, Subject};
use bytes::Bytes;
use etcd_client::{Connector, TlsFiles};
use etcd_discovery::{Settings, Store, Tokens, Upstream, serve};
use etcd_http::tls::{ServerTls, TlsFiles as ServerFiles};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;

const DEADLINE: Duration = Duration::from_secs(20);

/// Issues `NAME.pem` and `NAME-key.pem` in `folder` by the authority in `by`.
fn issue(folder: &Path, name: &str, by: &Path) {
    let authority = Authority::open(by, "test").unwrap();
    let addresses = vec!["127.0.0.1".parse().unwrap()];
    let subject = Subject { name: name.to_owned(), host_names: Vec::new(), addresses };
    authority.issue(&subject).unwrap().write(folder, name).unwrap();
}

fn server(folder: &Path, name: &str) -> Arc<ServerTls> {
    let file = |end: &str| folder.join(format!("{name}{end}"));
    let files = ServerFiles { certificate: file(".pem"), key: file("-key.pem"), ..ServerFiles::default() };
    Arc::new(ServerTls::load(files).unwrap())
}

/// Starts the service and returns its address. It runs until the runtime is dropped.
async fn start(store: Store, tls: Option<Arc<ServerTls>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let base = format!("{scheme}://{}", listener.local_addr().unwrap());
    let settings = Settings { tls, ..Settings::default() };
    tokio::spawn(serve(listener, store, settings, std::future::pending()));
    base
}

/// Status and body, or the error, on a new connection.
async fn get(url: &str, ca: &Path) -> Result<(u16, String), String> {
    let files = TlsFiles { ca: Some(ca.to_owned()), ..TlsFiles::default() };
    let connector = Connector::new(&files, true, DEADLINE).unwrap();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let response = tokio::time::timeout(DEADLINE, client.get(url.parse().unwrap())).await.unwrap();
    let response = response.map_err(|error| format!("{error:?}"))?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok((status, String::from_utf8(body.to_vec()).unwrap()))
}

#[tokio::test]
async fn https_with_reloaded_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    issue(folder.path(), "service", &old);
    let base = start(Store::local(Tokens::in_memory()), Some(server(folder.path(), "service"))).await;
    let ca = old.join("ca.pem");
    let (status, url) = get(&format!("{base}/new?size=2"), &ca).await.unwrap();
    assert!(status == 200 && url.starts_with(&format!("{base}/")), "{url}");
    assert_eq!(get(&format!("{url}/_config/size"), &ca).await.unwrap().0, 200);
    let plain = get(&base.replace("https", "http"), &ca).await.unwrap();
    assert_eq!(plain, (400, "Client sent an HTTP request to an HTTPS server.\n".to_owned()));
    issue(folder.path(), "service", &new);
    let began = tokio::time::Instant::now();
    while let Err(error) = get(&format!("{base}/health"), &new.join("ca.pem")).await {
        assert!(began.elapsed() < DEADLINE, "the new certificate is not served: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(get(&format!("{base}/health"), &ca).await.is_err());
}

#[tokio::test]
async fn the_upstream_certificate_is_verified() {
    use etcd_http::{Cors, Front, Hosts, Local, Settings as FrontSettings};
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (folder.path().join("own"), folder.path().join("other"));
    Authority::open(&own, "test").unwrap();
    Authority::open(&other, "test").unwrap();
    issue(folder.path(), "etcd", &own);
    let member = etcd_api::Member {
        id: 1,
        name: "n1".to_owned(),
        peer_urls: vec!["http://127.0.0.1:1".to_owned()],
        client_urls: Vec::new(),
    };
    let settings = FrontSettings {
        server_version: "2.3.8".to_owned(),
        cors: Cors::default(),
        hosts: Hosts::default(),
        command_line: Vec::new(),
        set_log_level: None,
        registries: Vec::new(),
        secret: [7; 32],
    };
    let front = Arc::new(Front::new(Local::new(member, 1), settings).unwrap());
    let address = "127.0.0.1:0".parse().unwrap();
    let listener = etcd_http::server::Listener::bind(address, Some(server(folder.path(), "etcd"))).unwrap();
    let etcd = etcd_http::server::serve(vec![listener], front, 100).unwrap();
    let url = format!("https://{}", etcd.addresses()[0]);
    let behind = async |authority: &Path| {
        let upstream = Upstream::new(&url, Some(authority.join("ca.pem"))).unwrap();
        start(Store::Etcd(upstream), None).await
    };
    let base = behind(&own).await;
    let (status, token) = get(&format!("{base}/new?size=2"), &own.join("ca.pem")).await.unwrap();
    assert_eq!(status, 200, "{token}");
    let (status, size) = get(&format!("{token}/_config/size"), &own.join("ca.pem")).await.unwrap();
    assert!(status == 200 && size.contains("\"value\":\"2\""), "{size}");
    let base = behind(&other).await;
    assert_eq!(get(&format!("{base}/health"), &own.join("ca.pem")).await.unwrap().0, 503);
    assert_eq!(get(&format!("{base}/new?size=2"), &own.join("ca.pem")).await.unwrap().0, 400);
    for wrong in ["ftp://a:1", "https://", "https://a:1/x", "127.0.0.1:2379"] {
        let error = Upstream::new(wrong, None).err().unwrap().to_string();
        assert!(error.contains(&format!("not {wrong:?}")), "{error}");
    }
}
