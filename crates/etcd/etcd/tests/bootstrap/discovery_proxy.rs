//! `-discovery-proxy`: the discovery service is queried only through a proxy.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use conformance::backend::{in_own_namespaces, resolve_on_loopback};

use crate::process::{Etcd, get, put};

const SERVICE: &str = "127.0.0.1:2379";
const PROXY: &str = "127.0.0.1:3128";

/// Forwards every request to the service, whatever its host, and records the heads.
fn proxy() -> Arc<Mutex<Vec<String>>> {
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let listener = TcpListener::bind(PROXY).unwrap();
    let shared = Arc::clone(&heads);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, heads) = (stream.unwrap(), Arc::clone(&shared));
            thread::spawn(move || pass(stream, &heads));
        }
    });
    heads
}

/// One request per connection.
fn pass(stream: TcpStream, heads: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "cut off: {head}");
    }
    heads.lock().unwrap().push(head.clone());
    let length = head
        .to_lowercase()
        .split_once("content-length: ")
        .map_or(0, |(_, rest)| rest.split("\r\n").next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (line, rest) = head.split_once("\r\n").unwrap();
    let mut fields = line.split(' ');
    let (method, target) = (fields.next().unwrap(), fields.next().unwrap());
    let path = target.strip_prefix("http://discovery.invalid:80").unwrap();
    let mut service = TcpStream::connect(SERVICE).unwrap();
    write!(service, "{method} {path} HTTP/1.1\r\nConnection: close\r\n{rest}").unwrap();
    service.write_all(&body).unwrap();
    let mut back = stream;
    // The client may have disconnected.
    if std::io::copy(&mut service, &mut back).is_ok() {
        back.shutdown(Shutdown::Both).ok();
    }
}

#[test]
fn a_member_finds_its_cluster_through_a_proxy() {
    in_own_namespaces("discovery_proxy::a_member_finds_its_cluster_through_a_proxy", || {
        resolve_on_loopback().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut service = Etcd::start(folder.path(), "service", "");
        service.until_serving(SERVICE);
        assert_eq!(put(SERVICE, "/v2/keys/d/T/_config/size", "value=1").status, 201);
        let heads = proxy();
        let line = "-listen-peer-urls http://127.0.0.2:2380 -initial-advertise-peer-urls http://127.0.0.2:2380 \
             -listen-client-urls http://127.0.0.2:2379 -advertise-client-urls http://127.0.0.2:2379 \
             -discovery http://discovery.invalid/v2/keys/d/T -discovery-proxy me:secret%21@127.0.0.1:3128";
        let mut member = Etcd::start(folder.path(), "member", line);
        member.until_serving("127.0.0.2:2379");
        let registered = get(SERVICE, "/v2/keys/d/T").text();
        assert!(registered.contains("member=http://127.0.0.2:2380"), "{registered}");
        let heads = heads.lock().unwrap();
        let first = "GET http://discovery.invalid:80/v2/keys/d/T/_config/size HTTP/1.1\r\n";
        assert!(heads[0].starts_with(first), "{}", heads[0]);
        // me:secret!
        let key = "proxy-authorization: Basic bWU6c2VjcmV0IQ==\r\n";
        assert!(heads.iter().all(|head| head.to_lowercase().contains(&key.to_lowercase())), "{heads:?}");
        assert!(heads.iter().any(|head| head.starts_with("PUT http://discovery.invalid:80/v2/keys/d/T/")));
        assert!(!member.log().contains("secret"), "{}", member.log());
    });
}
