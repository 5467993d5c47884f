//! Watches: immediate heads, one event or many, slow and disconnecting readers.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use etcd_http::Backend;

use crate::site::{Client, FORM, Site, TIMEOUT};

/// Waits until this number of watches is open.
fn until_watchers(site: &Site, count: u64) {
    let began = Instant::now();
    loop {
        let open = site.local.watchers();
        if open == count {
            return;
        }
        assert!(began.elapsed() < TIMEOUT, "{open} watches are open, {count} expected");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn one_event_keeps_the_connection_alive() {
    let site = Site::start();
    let index = site.get("/v2/keys").index();
    let mut client = site.connect();
    client.send("GET", "/v2/keys/a?wait=true", &[], "");
    let head = client.head();
    assert_eq!((head.status, head.index()), (200, index));
    assert_eq!(head.header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(head.header("Content-Type"), Some("application/json"));
    assert_eq!(head.header("X-Etcd-Cluster-Id"), Some("7e27652122e8b2ae"));
    assert!(head.header("X-Raft-Index").is_some() && head.header("Date").is_some());
    until_watchers(&site, 1);
    site.form("PUT", "/v2/keys/b", "value=other");
    site.form("PUT", "/v2/keys/a", "value=x");
    let event = client.chunk().unwrap();
    assert!(event.starts_with("{\"action\":\"set\",\"node\":{\"key\":\"/a\",\"value\":\"x\""), "{event}");
    assert!(event.ends_with("}\n"));
    assert_eq!(client.chunk(), None);
    until_watchers(&site, 0);
    for _ in 0..3 {
        client.send("PUT", "/v2/keys/c", &[FORM], "value=again");
        assert!(client.response_to("PUT").status < 300);
    }
}

#[test]
fn pipelined_requests_wait_behind_a_watch() {
    let site = Site::start();
    let mut client = site.connect();
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.write(get("/version") + &get("/v2/keys/a?wait=true") + &get("/version"));
    assert!(client.response_to("GET").body.contains("etcdserver"));
    assert_eq!(client.head().status, 200);
    client.write(get("/v2/machines"));
    until_watchers(&site, 1);
    site.form("PUT", "/v2/keys/a", "value=x");
    assert!(client.chunk().is_some());
    assert_eq!(client.chunk(), None);
    assert!(client.response_to("GET").body.contains("etcdserver"));
    assert!(client.response_to("GET").body.starts_with("http://127.0.0.1:2379, "));
}

#[test]
fn http_1_0_and_connection_close() {
    let site = Site::start();
    for (first, version) in [
        ("GET /v2/keys/a?wait=true HTTP/1.0\r\n\r\n", "HTTP/1.0"),
        ("GET /v2/keys/a?wait=true HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1"),
    ] {
        let mut client = site.connect();
        client.write(first);
        let head = client.head();
        assert_eq!((head.version.as_str(), head.status), (version, 200));
        assert_eq!(head.header("Connection"), Some("close"));
        until_watchers(&site, 1);
        site.form("PUT", "/v2/keys/a", "value=x");
        let rest = client.rest();
        assert!(rest.contains("\"value\":\"x\""), "{rest}");
        assert_eq!(head.header("Transfer-Encoding").is_some(), version == "HTTP/1.1");
    }
}

#[test]
fn streams_have_past_and_future_events() {
    let site = Site::start();
    let first = site.form("PUT", "/v2/keys/d/a", "value=1").index();
    site.form("PUT", "/v2/keys/d/b", "value=2");
    site.form("PUT", "/v2/keys/d/_hidden", "value=h");
    let mut client = site.connect();
    client.send(
        "GET",
        &format!("/v2/keys/d?wait=true&recursive=true&stream=true&waitIndex={first}"),
        &[],
        "",
    );
    client.head();
    let has = |client: &mut Client, text: &str| {
        let event = client.chunk().unwrap();
        assert!(event.contains(text), "{event}");
    };
    has(&mut client, "\"value\":\"1\"");
    has(&mut client, "\"value\":\"2\"");
    site.form("PUT", "/v2/keys/d/c", "value=3");
    has(&mut client, "\"value\":\"3\"");
    site.form("DELETE", "/v2/keys/d?recursive=true", "");
    has(&mut client, "\"action\":\"delete\",\"node\":{\"key\":\"/d\",\"dir\":true");
}

#[test]
fn past_events_are_sent_immediately() {
    let site = Site::start();
    let first = site.form("PUT", "/v2/keys/a", "value=1").index();
    let last = site.form("PUT", "/v2/keys/a", "value=2").index();
    let response = site.get(&format!("/v2/keys/a?wait=true&waitIndex={first}"));
    assert_eq!((response.status, response.index()), (200, last));
    assert!(response.body.contains("\"value\":\"1\""));
    for number in 0..1_000 {
        site.form("PUT", "/v2/keys/b", &format!("value={number}"));
    }
    let removed = site.get(&format!("/v2/keys/a?wait=true&waitIndex={first}"));
    assert_eq!((removed.status, removed.index()), (400, last + 1_000));
    let oldest = last + 1;
    let expect = format!(
        "{{\"errorCode\":401,\"message\":\"The event in requested index is outdated and cleared\",\"cause\":\"the requested history has been cleared [{oldest}/{first}]\",\"index\":{}}}\n",
        last + 1_000
    );
    assert_eq!(removed.body, expect);
}

#[test]
fn disconnected_readers_are_removed() {
    let site = Site::start();
    let mut open = Vec::new();
    for stream in ["", "&stream=true"] {
        let mut client = site.connect();
        client.send("GET", &format!("/v2/keys/a?wait=true{stream}"), &[], "");
        client.head();
        open.push(client);
    }
    until_watchers(&site, 2);
    open[0].tcp().shutdown(Shutdown::Write).unwrap();
    until_watchers(&site, 1);
    open.clear();
    until_watchers(&site, 0);
}

#[test]
fn slow_stream_readers_are_closed_without_a_gap() {
    let site = Site::start();
    let mut client = site.connect();
    client.send("GET", "/v2/keys/a?wait=true&stream=true", &[], "");
    client.head();
    until_watchers(&site, 1);
    let value = "v".repeat(256 << 10);
    let mut sent = 0;
    // Nothing is read: the sockets' buffers fill, then the queue, then the watch ends.
    while site.local.watchers() > 0 {
        sent += 1;
        assert!(sent < 1_000, "the watch never ended");
        site.form("PUT", "/v2/keys/a", &format!("value={sent}-{value}"));
    }
    let mut received = 0;
    while let Some(event) = client.chunk() {
        received += 1;
        let start = format!("{{\"action\":\"set\",\"node\":{{\"key\":\"/a\",\"value\":\"{received}-vvv");
        assert!(event.starts_with(&start), "event {received}: {}", &event[..80]);
    }
    assert!(received >= 100 && received < sent, "{received} of {sent}");
    assert_eq!(client.rest(), "", "the connection is closed");
}

#[test]
fn stopping_ends_watches_and_idle_connections() {
    let mut site = Site::start();
    let mut watching = site.connect();
    watching.send("GET", "/v2/keys/a?wait=true", &[], "");
    watching.head();
    let mut idle = site.connect();
    idle.send("GET", "/version", &[], "");
    idle.response_to("GET");
    let mut silent = site.connect();
    until_watchers(&site, 1);
    let running = site.running.take().unwrap();
    // All three were accepted, and the listener waits for the next one; connections in the backlog are reset.
    let began = Instant::now();
    while running.connections() < 4 {
        assert!(began.elapsed() < TIMEOUT, "{} connections", running.connections());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(site.runtime.block_on(running.stop(TIMEOUT)), 0);
    assert_eq!(watching.chunk(), None);
    assert_eq!((watching.rest(), idle.rest(), silent.rest()), Default::default());
}
