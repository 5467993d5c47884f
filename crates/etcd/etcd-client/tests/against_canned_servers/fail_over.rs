//! Tests of fail-over, retries and errors.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::canned::{Canned, Reply};
use etcd_client::{
    Client, Config, Credentials, DeleteOptions, Error, GetOptions, Order, PrevExist, Reason, SetOptions,
    SlowReport,
};

const FOUND: Reply = Reply::Response(
    "200 OK",
    &["X-Etcd-Index: 9", "Content-Type: application/json"],
    "{\"action\":\"get\",\"node\":{\"key\":\"/a\",\"value\":\"v\",\"modifiedIndex\":7,\"createdIndex\":6}}\n",
);
const NO_LEADER: Reply = Reply::Response("500 Internal Server Error", &[], "{\"errorCode\":300}");
const UNAVAILABLE: Reply = Reply::Response("503 Service Unavailable", &[], "");
const BAD_GATEWAY: Reply = Reply::Response("502 Bad Gateway", &[], "");
const NOT_FOUND: Reply = Reply::Response(
    "404 Not Found",
    &[],
    "{\"errorCode\":100,\"message\":\"Key not found\",\"cause\":\"/a\",\"index\":5}",
);
const HTML: Reply = Reply::Response("200 OK", &[], "<html>");
const BROKEN: Reply = Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"action\":");
const NO_HTTP: Reply = Reply::Raw("SSH-2.0-OpenSSH_9.2\r\n");

fn config(urls: &[&str]) -> Config {
    let mut config = Config::new(urls.iter().map(|url| url.parse().unwrap()).collect());
    config.order = Order::Configured;
    config.request_timeout = Duration::from_millis(300);
    config.total_timeout = Duration::from_secs(10);
    config
}

fn client(urls: &[&str]) -> Client {
    Client::new(config(urls)).unwrap()
}

#[tokio::test]
async fn a_good_answer() {
    let server = Canned::start(&[FOUND]);
    let response = client(&[&server.url]).get("/a", GetOptions::default()).await.unwrap();
    assert_eq!((response.index, response.node().value.as_deref()), (9, Some("v")));
    assert_eq!(server.lines(), ["GET /v2/keys/a?quorum=false&recursive=false&sorted=false"]);
}

#[tokio::test]
async fn failures_with_fail_over() {
    let reasons = [
        (NO_LEADER, "client: etcd member URL has no leader"),
        (UNAVAILABLE, "client: etcd member URL has no leader"),
        (BAD_GATEWAY, "client: etcd member URL returns server error [502 Bad Gateway]"),
        (Reply::Silence, "client: endpoint URL exceeded header timeout"),
    ];
    for (reply, expect) in reasons {
        let (invalid, valid) = (Canned::start(std::slice::from_ref(&reply)), Canned::start(&[FOUND]));
        let client = client(&[&invalid.url, &valid.url]);
        client.get("/a", GetOptions::default()).await.unwrap();
        client.get("/a", GetOptions::default()).await.unwrap();
        assert_eq!((invalid.lines().len(), valid.lines().len()), (1, 2), "the good one is kept: {expect}");

        let alone = config(&[&invalid.url]);
        let error = Client::new(alone).unwrap().get("/a", GetOptions::default()).await.unwrap_err();
        let Error::Unavailable { attempts } = error else { panic!("{error:?}") };
        assert_eq!(attempts[0].to_string(), expect.replace("URL", &invalid.url));
    }
    for reply in [BROKEN, NO_HTTP, Reply::Raw("")] {
        let (invalid, valid) = (Canned::start(&[reply]), Canned::start(&[FOUND]));
        client(&[&invalid.url, &valid.url]).get("/a", GetOptions::default()).await.unwrap();
        assert_eq!(valid.lines().len(), 1);
    }
}

#[tokio::test]
async fn no_endpoint_is_reachable() {
    let (one, two) = (Canned::unreachable(), Canned::unreachable());
    let error = client(&[&one, &two]).get("/a", GetOptions::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "client: etcd cluster is unavailable or misconfigured");
    let messages: Vec<_> = error.attempts().iter().map(ToString::to_string).collect();
    let expect = [one, two]
        .map(|url| format!("dial tcp {}: connect: connection refused", url.trim_start_matches("http://")));
    assert_eq!(messages, expect);
}

#[tokio::test]
async fn responses_without_fail_over() {
    let server = Canned::start(&[NOT_FOUND, HTML]);
    let other = Canned::start(&[FOUND]);
    let client = client(&[&server.url, &other.url]);
    let error = client.get("/a", GetOptions::default()).await.unwrap_err();
    assert!(error.is_key_not_found());
    assert_eq!(error.to_string(), "100: Key not found (/a) [5]");
    let error = client.get("/a", GetOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::InvalidJson { .. }), "{error:?}");
    assert!(other.lines().is_empty());
}

#[tokio::test]
async fn a_create_is_not_retried() {
    for reply in [Reply::Silence, NO_LEADER, BROKEN] {
        let (invalid, valid) = (Canned::start(&[reply]), Canned::start(&[FOUND]));
        let error = client(&[&invalid.url, &valid.url]).create("/a", "v", None).await.unwrap_err();
        assert!(matches!(error, Error::Undecided { .. }), "{error:?}");
        assert!(valid.lines().is_empty());
    }
    // Nothing was sent, so the next endpoint is tried.
    let valid = Canned::start(&[FOUND]);
    client(&[&Canned::unreachable(), &valid.url]).post("/q", "v", None).await.unwrap();
    // An idempotent write is repeated.
    let (invalid, valid) = (Canned::start(&[NO_LEADER]), Canned::start(&[FOUND]));
    client(&[&invalid.url, &valid.url]).set("/a", "v", &SetOptions::default()).await.unwrap();
    assert_eq!(valid.lines(), ["PUT /v2/keys/a"]);
}

/// A request fails after its own timeout and is not repeated; the next one of any clone goes to another endpoint.
#[tokio::test]
async fn endpoints_that_hang_are_left_without_a_second_try() {
    let hang = [(); 2].map(|()| Canned::start(&[Reply::Silence]));
    let valid = Canned::start(&[FOUND]);
    let mut config = config(&[&hang[0].url, &hang[1].url, &valid.url]);
    config.retry_after_timeout = false;
    let quick = Client::new(config).unwrap();
    let patient = quick.with_timeouts(Duration::from_millis(500), Duration::from_secs(10));
    let error =
        quick.set("/a", "v", &SetOptions { prev_index: Some(3), ..SetOptions::default() }).await.unwrap_err();
    assert!(matches!(error, Error::Undecided { .. }), "{error:?}");
    let begin = Instant::now();
    patient.get("/a", GetOptions::default()).await.unwrap_err();
    assert!(begin.elapsed() >= Duration::from_millis(500));
    for client in [&quick, &patient] {
        client.get("/a", GetOptions::default()).await.unwrap();
    }
    assert_eq!([&hang[0], &hang[1], &valid].map(|server| server.lines().len()), [1, 1, 2]);
}

#[tokio::test]
async fn total_timeout() {
    let silent: Vec<_> = (0..8).map(|_| Canned::start(&[Reply::Silence])).collect();
    let urls: Vec<_> = silent.iter().map(|server| server.url.as_str()).collect();
    let mut config = config(&urls);
    config.total_timeout = Duration::from_millis(700);
    let begin = Instant::now();
    let error = Client::new(config).unwrap().get("/a", GetOptions::default()).await.unwrap_err();
    let Error::Deadline { attempts } = error else { panic!("{error:?}") };
    assert_eq!(attempts.len(), 2, "two had 300 ms each");
    assert!(begin.elapsed() < Duration::from_secs(5));
    // The timeout includes the body.
    let slow = Canned::start(&[Reply::Partial("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")]);
    let mut config = self::config(&[&slow.url]);
    config.total_timeout = Duration::from_millis(700);
    let error = Client::new(config).unwrap().get("/a", GetOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
}

#[tokio::test]
async fn slow_endpoints_are_reported() {
    let hang = [(); 2].map(|()| Canned::start(&[Reply::Silence]));
    let valid = Canned::start(&[FOUND]);
    let error: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&error);
    let mut config = config(&[&valid.url, &hang[0].url, &hang[1].url]);
    config.slow = Some(SlowReport {
        after: Duration::from_millis(200),
        report: Arc::new(move |endpoint| noted.lock().unwrap().push(endpoint.to_string())),
    });
    let client = Client::new(config).unwrap();
    client.get("/a", GetOptions::default()).await.unwrap();
    assert!(error.lock().unwrap().is_empty());
    // 300 ms each.
    client.set_endpoints(hang.iter().map(|server| server.url.parse().unwrap()).collect());
    client.get("/a", GetOptions::default()).await.unwrap_err();
    assert_eq!(*error.lock().unwrap(), hang.map(|server| server.url));
}

#[tokio::test]
async fn connections_are_reused() {
    let server = Canned::start(&[FOUND]);
    let client = client(&[&server.url]);
    for _ in 0..5 {
        client.get("/a", GetOptions::default()).await.unwrap();
    }
    assert_eq!((server.lines().len(), server.connections()), (5, 1));
}

#[tokio::test]
async fn redirects_are_limited() {
    let away = Reply::Response("307 Temporary Redirect", &["Location: /v2/keys/b"], "");
    let server = Canned::start(&[away.clone(), FOUND]);
    client(&[&server.url]).get("/a", GetOptions::default()).await.unwrap();
    assert_eq!(server.lines()[1], "GET /v2/keys/b");

    let round = Canned::start(&[away]);
    let error = client(&[&round.url]).get("/a", GetOptions::default()).await.unwrap_err();
    assert_eq!(error.attempts()[0].reason, Reason::Redirects);
    assert_eq!(round.lines().len(), 11);
}

#[tokio::test]
async fn credentials_are_sent_but_never_shown() {
    let server = Canned::start(&[FOUND]);
    let mut config = config(&[&server.url]);
    config.credentials = Some(Credentials { user: "root".into(), password: "s3cret".into() });
    assert!(!format!("{config:?}").contains("s3cret"));
    Client::new(config).unwrap().get("/a", GetOptions::default()).await.unwrap();
    let head = server.requests()[0].to_lowercase();
    assert!(head.contains("authorization: basic cm9vddpzm2nyzxq="), "{head}");
}

#[tokio::test]
async fn what_is_sent() {
    let server = Canned::start(&[FOUND]);
    let client = client(&[&server.url]);
    let ttl = Some(Duration::from_millis(1500));
    let swap =
        SetOptions { prev_value: Some("o&d".into()), prev_index: Some(3), ttl, ..SetOptions::default() };
    client.set("/a b", "x y", &swap).await.unwrap();
    client.mkdir("/d", None).await.unwrap();
    let ttl = Some(Duration::from_secs(9));
    let refresh = SetOptions { prev_exist: PrevExist::Exist, ttl, refresh: true, ..SetOptions::default() };
    client.set("/a", "", &refresh).await.unwrap();
    client.update("/a", [0xff, b'\n'], None).await.unwrap();
    client.compare_and_delete("/a", 7).await.unwrap();
    client
        .delete("/d", &DeleteOptions { recursive: true, dir: true, ..DeleteOptions::default() })
        .await
        .unwrap();
    client.post("/q", "job", None).await.unwrap();
    let sent: Vec<_> = server
        .requests()
        .iter()
        .map(|text| {
            let (first, body) = (text.lines().next().unwrap(), text.split("\n\n").nth(1).unwrap());
            format!("{} | {body}", first.replace(" HTTP/1.1", ""))
        })
        .collect();
    let expect = [
        "PUT /v2/keys/a%20b?prevIndex=3&prevValue=o%26d | ttl=2&value=x+y",
        "PUT /v2/keys/d?dir=true&prevExist=false | ",
        "PUT /v2/keys/a?prevExist=true&refresh=true | ttl=9",
        "PUT /v2/keys/a?prevExist=true | value=%FF%0A",
        "DELETE /v2/keys/a?prevIndex=7 | ",
        "DELETE /v2/keys/d?dir=true&recursive=true | ",
        "POST /v2/keys/q | value=job",
    ];
    assert_eq!(sent, expect);
}
