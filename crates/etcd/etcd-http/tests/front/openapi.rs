//! `docs/reference/api/etcd.yaml` describes what the server does.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_http::backend::Backend;
use etcd_http::server::Running;
use etcd_http::{FIXED_PATHS, Front};
use openapi::{Document, Request, Response};

use crate::failing::Failing;
use crate::site::{self, Client, FORM, Site, TIMEOUT};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/api/etcd.yaml");
const PAGE: &str = include_str!("../../../../../docs/reference/http-api.md");
const JSON: &str = "application/json";
const ROOT: (&str, &str) = ("Authorization", "Basic cm9vdDpwdw==");
/// Rejected without hashing a password.
const INVALID: (&str, &str) = ("Authorization", "Bearer x");

/// A site with the key of the examples, and a peer port.
struct Fixture {
    site: Site,
    peers: Running,
}

impl Fixture {
    fn start() -> Fixture {
        let site = Site::start();
        assert_eq!(site.form("PUT", "/v2/keys/message", "value=Hello").status, 201);
        let peers = site::start(&site.runtime, Arc::new(site.front.for_peers()), None);
        Fixture { site, peers }
    }

    /// With the user and the role of the examples. Hashing passwords takes a while.
    fn with_users() -> Fixture {
        let fixture = Fixture::start();
        let put = |target: &str, body: &str| {
            let response = fixture.site.send_request("PUT", target, &[FORM], body);
            assert!(response.status < 300, "{target}: {response:?}");
        };
        put("/v2/auth/users/root", r#"{"user":"root","password":"pw"}"#);
        put("/v2/auth/roles/reader", r#"{"role":"reader"}"#);
        put("/v2/auth/users/alice", r#"{"user":"alice","password":"p"}"#);
        fixture
    }

    fn with_auth() -> Fixture {
        let fixture = Fixture::with_users();
        assert_eq!(fixture.site.form("PUT", "/v2/auth/enable", "").status, 200);
        fixture
    }

    fn send(&self, request: &Request) -> Response {
        let address = match request.target.as_str() {
            "/members" => self.peers.addresses()[0],
            _ => self.site.address,
        };
        send(address, request, || self.change_watched_key())
    }

    /// Waits until a watch is open, then causes its event.
    fn change_watched_key(&self) {
        let began = Instant::now();
        while self.site.local.watchers() == 0 {
            assert!(began.elapsed() < TIMEOUT, "no watch is open");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.site.form("PUT", "/v2/keys/message", "value=changed").status, 200);
    }
}

/// Sends a request; `during_watch` runs before the response to a watch is read.
fn send(address: SocketAddr, request: &Request, during_watch: impl FnOnce()) -> Response {
    let headers: Vec<(&str, &str)> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut client = Client::connect(address);
    client.send(&request.method, &request.target, &headers, &request.body);
    let authorized = !headers.contains(&INVALID);
    if authorized && (is_waiting(request) || request.line() == "GET /v1/watch/message") {
        during_watch();
    }
    let response = client.response_to(&request.method);
    Response { status: response.status, headers: response.headers, body: response.body }
}

/// Without a `waitIndex` that is in the history.
fn is_waiting(request: &Request) -> bool {
    request.method == "GET" && request.target.contains("wait=true") && !request.target.contains("waitIndex")
}

/// Checks the requests of the document's examples, each on a new server; those of users and roles in order on one.
fn check_examples(document: &mut Document) {
    let with_users = Fixture::with_users();
    for request in document.examples() {
        let request = request.header(ROOT.0, ROOT.1);
        let response = match request.target.contains("/v2/auth/") {
            true => with_users.send(&request),
            false => Fixture::start().send(&request),
        };
        assert!(response.status < 300, "{}: {response:?}", request.line());
        document.check(&request, &response);
    }
}

/// Checks all documented operations with invalid credentials.
fn check_credentials(document: &mut Document) {
    let fixture = Fixture::with_auth();
    for request in document.examples() {
        let request = request.header(INVALID.0, INVALID.1);
        document.check(&request, &fixture.send(&request));
    }
}

/// Checks all documented operations on a member without a leader.
fn check_without_leader(document: &mut Document) {
    let fixture = Fixture::start();
    let front = Front::new(Failing(fixture.site.local.clone()), site::settings()).unwrap();
    let running = site::start(&fixture.site.runtime, Arc::new(front), None);
    for request in document.examples().iter().filter(|request| request.target != "/members") {
        let response = send(running.addresses()[0], request, || fixture.change_watched_key());
        document.check(request, &response);
    }
}

/// Checks all documented operations with an invalid body.
fn check_bodies(document: &mut Document) {
    let fixture = Fixture::start();
    for request in document.examples().iter().filter(|request| !request.body.is_empty()) {
        let kind = request.headers.iter().find(|(name, _)| name == "Content-Type").unwrap().1.clone();
        let invalid = Request::new(&request.line()).body(&kind, "a;b");
        let response = fixture.send(&invalid);
        assert_eq!(response.status, 400, "{}", request.line());
        document.check(&invalid, &response);
    }
}

/// `METHOD TARGET STATUS [BODY]`, in order on one server. `DEEP` is a key with too many levels.
const REQUESTS: &[&str] = &[
    // Keys.
    "GET /v2/keys?recursive=x 400",
    "GET /v2/keys/message?quorum=x 400",
    "GET /v2/keys/message%2Fbelow 400",
    "GET /v2/keys/nope%2Fbelow 404",
    "GET /v2/keys/message?wait=true 200",
    "GET /v2/keys/message?wait=true&waitIndex=4 200",
    "HEAD /v2/keys?wait=true 400",
    "HEAD /v2/keys/message?wait=true 400",
    "HEAD /v2/keys/nope 404",
    "PUT /v2/keys/dir 201 dir=true&ttl=600",
    "PUT /v2/keys/dir%2Fa 201 value=1",
    "GET /v2/keys/dir?recursive=true 200",
    "GET /v2/keys 200",
    "PUT /v2/keys/dir 403 value=1",
    "PUT /v2/keys/dir 403 dir=true",
    "PUT /v2/keys/nope?prevExist=true 404 value=1",
    "PUT /v2/keys/message?prevExist=false 412 value=1",
    "PUT /v2/keys/message?prevValue=x 412 value=1",
    "PUT /v2/keys/message%2Fbelow 400 value=1",
    "POST /v2/keys/message 400 value=1",
    "DELETE /v2/keys/message?prevIndex=1 412",
    "DELETE /v2/keys/message?prevValue= 400",
    "DELETE /v2/keys/nope 404",
    "DELETE /v2/keys/dir 403",
    "DELETE /v2/keys/dir?dir=true 403",
    "DELETE /v2/keys/dir?recursive=true 200",
    "PUT /v2/keys/short 201 ttl=0",
    "GET /v2/stats/store 200",
    // Version 1.
    "PUT /v2/keys/dir%2Fb 201 value=1&ttl=600",
    "GET /v1/keys/dir 200",
    "GET /v1/keys/dir%2Fb 200",
    "GET /v1/keys/nope 404",
    "GET /v1/keys/DEEP 400",
    "HEAD /v1/keys/nope 404",
    "HEAD /v1/keys/DEEP 400",
    "GET /v1/watch/DEEP 400",
    "POST /v1/watch/message 400 index=x",
    // Members.
    r#"PUT /v2/members/a 404 {"peerURLs":["http://10.0.0.9:2380"]}"#,
    r#"POST /v2/members 409 {"peerURLs":["http://127.0.0.1:2380"]}"#,
    r#"POST /v2/members 201 {"peerURLs":["http://10.0.0.10:2380"]}"#,
    "GET /v2/members 200",
    r#"PUT /v2/members/bdae9bbc11dd390f 409 {"peerURLs":["http://127.0.0.1:2380"]}"#,
    "DELETE /v2/members/a 404",
    "DELETE /v2/members/bdae9bbc11dd390f 204",
    "DELETE /v2/members/bdae9bbc11dd390f 410",
    r#"PUT /v2/members/bdae9bbc11dd390f 410 {"peerURLs":["http://10.0.0.9:2380"]}"#,
    // Users and roles.
    "DELETE /v2/auth/enable 409",
    r#"PUT /v2/auth/users/bob 201 {"user":"bob","password":"p"}"#,
    r#"PUT /v2/auth/users/bob 409 {"user":"bob","password":"p","roles":["reader"]}"#,
    r#"PUT /v2/auth/users/carol 200 {"user":"carol","password":"p","roles":["nope"]}"#,
    r#"PUT /v2/auth/users/nope 404 {"user":"nope","grant":["reader"]}"#,
    "GET /v2/auth/users/carol 404",
    "GET /v2/auth/users 200",
    "DELETE /v2/auth/users/nope 404",
    r#"PUT /v2/auth/roles/writer 201 {"role":"writer","permissions":{"kv":{"write":["/*"]}}}"#,
    r#"PUT /v2/auth/roles/writer 409 {"role":"writer"}"#,
    r#"PUT /v2/auth/roles/root 403 {"role":"root"}"#,
    r#"PUT /v2/auth/roles/nope 404 {"role":"nope","grant":{"kv":{"read":["/*"]}}}"#,
    "GET /v2/auth/roles/nope 404",
    "DELETE /v2/auth/roles/root 403",
    "DELETE /v2/auth/roles/nope 404",
    "PUT /v2/auth/enable 200",
    "PUT /v2/auth/enable 409",
    "DELETE /v2/auth/users/root 403",
    "DELETE /v2/auth/enable 200",
];

fn check_requests(document: &mut Document) {
    let fixture = Fixture::with_users();
    for line in REQUESTS {
        let mut parts = line.splitn(4, ' ');
        let (method, target) = (parts.next().unwrap(), parts.next().unwrap());
        let target = target.replace("DEEP", &"a%2F".repeat(4097));
        let status: u16 = parts.next().unwrap().parse().unwrap();
        let mut request = Request::new(&format!("{method} {target}")).header(ROOT.0, ROOT.1);
        if let Some(body) = parts.next() {
            request = request.body(if body.starts_with('{') { JSON } else { FORM.1 }, body);
        }
        let response = fixture.send(&request);
        assert_eq!(response.status, status, "{line}: {response:?}");
        document.check(&request, &response);
    }
    for method in ["POST /v2/members", "PUT /v2/members/1"] {
        let request = Request::new(method).body("text/plain", "{}");
        document.check(&request, &fixture.send(&request));
    }
}

#[test]
fn responses_are_documented() {
    let mut document = Document::read(DOCUMENT);
    check_examples(&mut document);
    check_credentials(&mut document);
    check_without_leader(&mut document);
    check_bodies(&mut document);
    check_requests(&mut document);
    document.check_all_seen(&[]);
}

/// The server names the methods of a path in the response to another one.
#[test]
fn methods_are_documented() {
    let document = Document::read(DOCUMENT);
    let fixture = Fixture::start();
    for request in document.examples() {
        let other = Request { method: "PATCH".to_owned(), ..request.clone() };
        let response = fixture.send(&other);
        let mut expect = document.methods(&request);
        match request.target.split('?').next().unwrap() {
            // Any method.
            "/metrics" => {
                assert_eq!(response.status, 200);
                continue;
            }
            // PUT and DELETE of the root are always rejected.
            "/v2/keys" => expect.extend(["PUT".to_owned(), "DELETE".to_owned()]),
            // One list for all paths of members.
            path if path.starts_with("/v2/members") => {
                expect = ["GET", "POST", "DELETE", "PUT"].map(str::to_owned).into();
            }
            _ => {}
        }
        assert_eq!(response.status, 405, "{}", other.line());
        let allow = response.header("Allow").unwrap_or_default();
        let allow: BTreeSet<String> = allow.split(',').map(str::to_owned).collect();
        assert_eq!(allow, expect, "{}", other.line());
    }
}

#[test]
fn fixed_paths_are_documented() {
    let document = Document::read(DOCUMENT);
    for fixed in &FIXED_PATHS {
        let methods = document.methods(&Request::new(&format!("GET {}", fixed.path)));
        let allow = if fixed.allow.is_empty() { "GET" } else { fixed.allow };
        let allow: BTreeSet<String> = allow.split(',').map(str::to_owned).collect();
        assert_eq!(methods, allow, "{}", fixed.path);
    }
}

#[test]
fn page_has_the_table() {
    Document::read(DOCUMENT).check_page(PAGE);
}
