//! Requests at the level of bytes: malformed, unusual and common ones.

use std::io::Read;
use std::net::Shutdown;

use etcd_http::{Hosts, Settings};

use crate::site::{self, FORM, Site};

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn pipelining() {
    let site = Site::start();
    let mut client = site.connect();
    let mut all = String::new();
    for number in 0..50 {
        all += &format!(
            "PUT /v2/keys/p HTTP/1.1\r\nHost: a\r\n{}: {}\r\nContent-Length: {}\r\n\r\nvalue={number:02}",
            FORM.0, FORM.1, 8
        );
        all += &get("/v2/keys/p");
    }
    client.write(all);
    for number in 0..50 {
        assert!(client.response_to("PUT").status < 300);
        let read = client.response_to("GET").body;
        assert!(read.contains(&format!("\"value\":\"{number:02}\"")), "{number}: {read}");
    }
}

#[test]
fn http_1_0() {
    let site = Site::start();
    let mut client = site.connect();
    client.write("GET /version HTTP/1.0\r\n\r\n");
    let head = client.head();
    assert_eq!((head.version.as_str(), head.status), ("HTTP/1.0", 200));
    assert!(client.rest().contains("etcdserver"));
    let mut client = site.connect();
    client.write("GET /version HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.response_to("GET").header("Connection"), Some("keep-alive"));
    client.write(get("/version"));
    assert_eq!(client.response_to("GET").status, 200);
}

#[test]
fn expect_continue() {
    let site = Site::start();
    let mut client = site.connect();
    client.write(format!(
        "PUT /v2/keys/a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{}: {}\r\nContent-Length: 7\r\n\r\n",
        FORM.0, FORM.1
    ));
    assert_eq!(client.head().status, 100);
    client.write("value=x");
    assert_eq!(client.response_to("PUT").status, 201);
}

#[test]
fn half_closed_clients_get_a_response() {
    let site = Site::start();
    let mut client = site.connect();
    client.write(get("/v2/keys/none"));
    client.tcp().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.response_to("GET").status, 404);
    assert_eq!(client.rest(), "");
}

#[test]
fn slow_clients_get_a_response() {
    let site = Site::start();
    let mut client = site.connect();
    for byte in get("/v2/machines").into_bytes() {
        client.write([byte]);
    }
    assert_eq!(client.response_to("GET").status, 200);
}

#[test]
fn rejected_heads() {
    let site = Site::start();
    let check = |bytes: String, status: u16| {
        let mut client = site.connect();
        client.write(&bytes);
        let shown = &bytes[..bytes.len().min(60)];
        assert_eq!(client.head().status, status, "{shown:?}");
        let mut rest = Vec::new();
        // The connection may be reset, since not everything was read.
        let ended = client.stream.read_to_end(&mut rest);
        assert!(ended.is_ok() || rest.is_empty(), "{shown:?}: {ended:?}");
    };
    check("\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), 400);
    check("GET\r\n\r\n".to_owned(), 400);
    check("GET / HTTP/9.9\r\n\r\n".to_owned(), 400);
    check("PUT /v2/keys/a HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_owned(), 400);
    check(format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1_000)), 431);
    check(format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(2 << 20)), 431);
    // The server still works.
    assert_eq!(site.get("/version").status, 200);
}

/// DNS rebinding: a browser that was sent to this address by a name of the page's domain.
#[test]
fn a_page_whose_name_was_rebound_to_this_address_is_refused() {
    let page = "GET /v2/keys/ HTTP/1.1\r\nHost: rebind.example.org:2379\r\n\r\n";
    let site = Site::start();
    let mut client = site.connect();
    client.write(page);
    let refused = client.response_to("GET");
    assert_eq!(refused.status, 421);
    assert!(refused.body.contains("-host-whitelist=rebind.example.org"), "{}", refused.body);
    let hosts = Hosts::new(["rebind.example.org"]);
    let site = Site::with(Settings { hosts, ..site::settings() }, None);
    let mut client = site.connect();
    client.write(page);
    assert_eq!(client.response_to("GET").status, 200);
}

#[test]
fn long_heads_are_accepted_up_to_the_limit() {
    let site = Site::start();
    let value = "b".repeat(900 << 10);
    assert_eq!(site.send_request("GET", "/version", &[("A", &value)], "").status, 200);
}

#[test]
fn connections_are_counted_and_freed() {
    let site = Site::start();
    let running = site.running.as_ref().unwrap();
    let open: Vec<_> = (0..300).map(|_| site.connect()).collect();
    let wait = |count: usize| {
        let began = std::time::Instant::now();
        while running.connections() != count {
            assert!(began.elapsed() < crate::site::TIMEOUT, "{} open", running.connections());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    // One more: the listener holds a permit while it waits for a connection.
    wait(301);
    drop(open);
    wait(1);
}

#[test]
fn malformed_requests_do_no_harm() {
    let site = Site::start();
    let valid = format!(
        "PUT /v2/keys/a%20b?prevExist=true&ttl=5 HTTP/1.1\r\nHost: a\r\nAuthorization: Basic cm9vdDpwdw==\r\n{}: {}\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nvalue=x\r\n0\r\n\r\n",
        FORM.0, FORM.1
    );
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for round in 0..500 {
        let mut bytes = valid.clone().into_bytes();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = random(256) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random(256) as u8),
            }
        }
        let mut client = site.connect();
        client.write(&bytes);
        client.tcp().shutdown(Shutdown::Write).unwrap();
        let mut response = Vec::new();
        if client.stream.read_to_end(&mut response).is_ok() && !response.is_empty() {
            assert!(response.starts_with(b"HTTP/1."), "round {round}: {bytes:?}");
        }
    }
    assert_eq!(site.get("/version").status, 200);
}
