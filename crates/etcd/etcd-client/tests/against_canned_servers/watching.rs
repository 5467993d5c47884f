//! Tests of watches that resume after their connection is lost.

use std::time::Duration;

use crate::canned::{Canned, Reply};
use etcd_client::{Client, Config, Error, Order, WatchOptions};

const HEAD: &str = "HTTP/1.1 200 OK\r\nX-Etcd-Index: 5\r\nTransfer-Encoding: chunked\r\n\r\n";

fn client(urls: &[&str]) -> Client {
    let mut config = Config::new(urls.iter().map(|url| url.parse().unwrap()).collect());
    config.order = Order::Configured;
    config.request_timeout = Duration::from_millis(500);
    Client::new(config).unwrap()
}

/// A complete response with an event.
fn event(index: u64) -> Reply {
    let body = format!(
        "{{\"action\":\"set\",\"node\":{{\"key\":\"/a\",\"value\":\"v\",\
         \"modifiedIndex\":{index},\"createdIndex\":{index}}}}}\n"
    );
    Reply::Response("200 OK", &["X-Etcd-Index: 5"], body.leak())
}

fn wait_indexes(server: &Canned) -> Vec<String> {
    let index = |line: &String| line.split("waitIndex=").nth(1).unwrap().to_owned();
    server.lines().iter().map(index).collect()
}

#[tokio::test]
async fn consecutive_events() {
    let server = Canned::start(&[event(7), event(8), event(12)]);
    let mut watcher = client(&[&server.url]).watch("/a", WatchOptions::default());
    for expect in [7, 8, 12] {
        assert_eq!(watcher.next().await.unwrap().node().modified_index, expect);
    }
    assert_eq!(server.lines()[0], "GET /v2/keys/a?recursive=false&wait=true&waitIndex=0");
    assert_eq!(wait_indexes(&server), ["0", "8", "9"]);
    assert_eq!(server.connections(), 1, "the connection is used again");
}

#[tokio::test]
async fn after_an_index() {
    let server = Canned::start(&[event(7)]);
    let options = WatchOptions { recursive: true, after: Some(3), stream: false };
    client(&[&server.url]).watch("/d", options).next().await.unwrap();
    assert_eq!(server.lines(), ["GET /v2/keys/d?recursive=true&wait=true&waitIndex=4"]);
}

#[tokio::test]
async fn a_lost_connection_loses_no_event() {
    // Registered at 5, then lost: an event may have happened since 6.
    let lost = [Reply::Raw(HEAD), Reply::Response("200 OK", &["X-Etcd-Index: 6"], ""), event(6)];
    let server = Canned::start(&lost);
    let response = client(&[&server.url]).watch("/a", WatchOptions::default()).next().await.unwrap();
    assert_eq!(response.node().modified_index, 6);
    assert_eq!(wait_indexes(&server), ["0", "6", "6"]);
}

#[tokio::test]
async fn a_truncated_event_is_requested_again() {
    let cut = Reply::Raw(
        "HTTP/1.1 200 OK\r\nX-Etcd-Index: 5\r\nContent-Length: 900\r\n\r\n{\"action\":\"set\",\"no",
    );
    let server = Canned::start(&[cut, event(6)]);
    let response = client(&[&server.url]).watch("/a", WatchOptions::default()).next().await.unwrap();
    assert_eq!(response.node().modified_index, 6);
    assert_eq!(wait_indexes(&server), ["0", "6"]);
}

#[tokio::test]
async fn a_stream_has_many_events() {
    let lines = "HTTP/1.1 200 OK\r\nX-Etcd-Index: 5\r\n\r\n\
        {\"action\":\"set\",\"node\":{\"key\":\"/a\",\"modifiedIndex\":6,\"createdIndex\":6}}\n\n\
        {\"action\":\"set\",\"node\":{\"key\":\"/a\",\"modifiedIndex\":9,\"createdIndex\":6}}\n";
    let server = Canned::start(&[Reply::Raw(lines), event(10)]);
    let options = WatchOptions { stream: true, ..WatchOptions::default() };
    let mut watcher = client(&[&server.url]).watch("/a", options);
    for expect in [6, 9, 10] {
        assert_eq!(watcher.next().await.unwrap().node().modified_index, expect);
    }
    let last = server.lines().pop().unwrap();
    assert_eq!(last, "GET /v2/keys/a?recursive=false&stream=true&wait=true&waitIndex=10");
}

#[tokio::test]
async fn cleared_history_is_reported() {
    let cleared = Reply::Response(
        "400 Bad Request",
        &[],
        "{\"errorCode\":401,\"message\":\"The event in requested index is outdated and cleared\",\
         \"cause\":\"the requested history has been cleared [87/5]\",\"index\":1086}\n",
    );
    let server = Canned::start(&[cleared, event(1090)]);
    let options = WatchOptions { after: Some(4), ..WatchOptions::default() };
    let mut watcher = client(&[&server.url]).watch("/a", options);
    let error = watcher.next().await.unwrap_err();
    assert_eq!(error.cleared_history(), Some(1086));
    watcher.resume_after(1086);
    assert_eq!(watcher.next().await.unwrap().node().modified_index, 1090);
    assert_eq!(wait_indexes(&server), ["5", "1087"]);
}

#[tokio::test]
async fn fail_over_to_another_member() {
    let (one, two) = (Canned::start(&[event(7), Reply::Raw("")]), Canned::start(&[event(8)]));
    let mut watcher = client(&[&one.url, &two.url]).watch("/a", WatchOptions::default());
    assert_eq!(watcher.next().await.unwrap().node().modified_index, 7);
    assert_eq!(watcher.next().await.unwrap().node().modified_index, 8);
    assert_eq!(wait_indexes(&two), ["8"]);
}

#[tokio::test]
async fn errors_keep_the_position() {
    let html = Reply::Response("200 OK", &["X-Etcd-Index: 5"], "<html>");
    let server = Canned::start(&[event(7), html, Reply::Response("500 x", &[], ""), event(8)]);
    let mut watcher = client(&[&server.url]).watch("/a", WatchOptions::default());
    watcher.next().await.unwrap();
    assert!(matches!(watcher.next().await, Err(Error::InvalidJson { .. })));
    assert!(matches!(watcher.next().await, Err(Error::Unavailable { .. })));
    watcher.next().await.unwrap();
    assert_eq!(wait_indexes(&server), ["0", "8", "8", "8"]);
}

#[tokio::test]
async fn next_is_cancel_safe() {
    let server = Canned::start(&[Reply::Partial(HEAD), event(6)]);
    let mut watcher = client(&[&server.url]).watch("/a", WatchOptions::default());
    let waited = tokio::time::timeout(Duration::from_millis(200), watcher.next()).await;
    assert!(waited.is_err());
    // Waits on the same connection, without a second request.
    let waited = tokio::time::timeout(Duration::from_millis(200), watcher.next()).await;
    assert!(waited.is_err());
    assert_eq!(server.lines().len(), 1);
}
