//! Tests of requests through a proxy.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use authority::{Authority, Subject};
use etcd_config::Url;
use etcd_config::discovery::ProxyUrl;
use hyper::Method;
use rustls::{ServerConnection, StreamOwned};

use crate::http_request::{Reply, RequestParameters, send};

const TIMEOUT: Duration = Duration::from_secs(20);
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfound";

fn head(reader: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "cut off: {head}");
    }
    head
}

/// Serves one connection with `serve`.
fn listen<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (address, thread::spawn(move || serve(listener.accept().unwrap().0)))
}

async fn send_through(
    url: &str,
    proxy: &str,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<Reply, String> {
    let (endpoint, proxy): (Url, _) = (url.parse().unwrap(), ProxyUrl::parse(proxy).unwrap());
    let parameters = RequestParameters {
        method: Method::PUT,
        endpoint: &endpoint,
        path: "/token/1?prevExist=false",
        value: Some("a=http://b"),
        credentials: Some("host:key"),
        timeout: Some(TIMEOUT),
        tls,
        proxy: Some(&proxy),
    };
    send(&parameters).await.map_err(|error| service::error::chain(&error))
}

#[tokio::test]
async fn a_plain_request_is_forwarded_by_the_proxy() {
    let (address, proxy) = listen(|mut stream| {
        let head = head(&mut BufReader::new(&stream));
        stream.write_all(RESPONSE.as_bytes()).unwrap();
        head
    });
    let reply =
        send_through("http://discovery.invalid:8087", &format!("me:pw@{address}"), None).await.unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (200, &b"found"[..]));
    let head = proxy.join().unwrap();
    assert!(
        head.starts_with("PUT http://discovery.invalid:8087/token/1?prevExist=false HTTP/1.1\r\n"),
        "{head}"
    );
    for line in [
        "host: discovery.invalid:8087",
        "proxy-authorization: Basic bWU6cHc=",
        "authorization: Basic aG9zdDprZXk=",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} is not in {head}");
    }
}

/// TLS configurations for `discovery.invalid`: server, and a client that trusts it.
fn tls() -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    use etcd_http::tls::{ClientTls, ServerTls, ServerVerification, TlsFiles};
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(folder.path(), "test").unwrap();
    let subject = Subject {
        name: "service".to_owned(),
        host_names: vec!["discovery.invalid".to_owned()],
        addresses: Vec::new(),
    };
    authority.issue(&subject).unwrap().write(folder.path(), "service").unwrap();
    let file = |name: &str| folder.path().join(name);
    let files =
        TlsFiles { certificate: file("service.pem"), key: file("service-key.pem"), ..TlsFiles::default() };
    let client = ClientTls::verifying(ServerVerification::Authority(file("ca.pem")), None).unwrap();
    (ServerTls::load(files).unwrap().config(), client.config())
}

#[tokio::test]
async fn a_tls_request_goes_through_a_tunnel() {
    let (server, client) = tls();
    let (address, proxy) = listen(move |mut stream| {
        let outside = head(&mut BufReader::new(&stream));
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let mut inside = StreamOwned::new(ServerConnection::new(server).unwrap(), stream);
        let parameters = head(&mut BufReader::new(&mut inside));
        inside.write_all(RESPONSE.as_bytes()).unwrap();
        (outside, parameters)
    });
    let proxy_url = format!("http://me:pw@{address}");
    let reply = send_through("https://discovery.invalid:443", &proxy_url, Some(client)).await.unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (200, &b"found"[..]));
    let (outside, inside) = proxy.join().unwrap();
    assert!(outside.starts_with("CONNECT discovery.invalid:443 HTTP/1.1\r\n"), "{outside}");
    assert!(outside.contains("\r\nproxy-authorization: Basic bWU6cHc=\r\n"), "{outside}");
    assert!(!outside.contains("token") && !outside.contains("\r\nauthorization"), "{outside}");
    assert!(inside.starts_with("PUT /token/1?prevExist=false HTTP/1.1\r\n"), "{inside}");
    assert!(!inside.contains("proxy-authorization"), "{inside}");
    assert!(inside.contains("\r\nauthorization: Basic aG9zdDprZXk=\r\n"), "{inside}");
}

#[tokio::test]
async fn proxy_errors_name_the_proxy() {
    let (_, client) = tls();
    let (address, proxy) = listen(|mut stream| {
        head(&mut BufReader::new(&stream));
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let url = format!("http://me:secret@{address}");
    let error = send_through("https://discovery.invalid:443", &url, Some(client)).await.err().unwrap();
    assert_eq!(error, format!("the proxy http://{address} answered 407 Proxy Authentication Required"));
    proxy.join().unwrap();
    let unreachable = loopback_port::reserve().unwrap();
    let error =
        send_through("http://discovery.invalid:1", &unreachable.to_string(), None).await.err().unwrap();
    assert!(error.starts_with(&format!("connecting to the proxy http://{unreachable}: ")), "{error}");
}
