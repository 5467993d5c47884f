//! `docs/reference/api/channel-server.yaml` describes what the server does.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use channel_server::ROUTES;
use minisign::KeyPair;
use openapi::{Document, Request, Response};
use serde_json::Value;

use crate::support::{HttpReply, Server, images, keys, machine, roots, targets, write_release};

const DOCUMENT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/api/channel-server.yaml");
const PAGE: &str = include_str!("../../../../../docs/reference/http-api.md");
const JSON: &str = "application/json";
const TIMEOUT: Duration = Duration::from_secs(60);

/// Slow clients, errors of the disk, many streams and downloads.
const NOT_PROVOKED: [u16; 3] = [408, 500, 503];

/// A server with the versions and the machine of the examples.
struct Fixture {
    server: Server,
    signer: KeyPair,
}

impl Fixture {
    fn start() -> Self {
        let (server, signer) = (Server::start(), keys());
        for version in ["2.0.0", "3.0.0"] {
            server.publish(version, "alpha", &signer);
        }
        server.publish_images("2.0.0", &["alpha"], &signer);
        server.omaha(machine("m1", "1.0.0", "alpha"));
        Self { server, signer }
    }

    fn send_as(&self, token: Option<&str>, request: &Request) -> Response {
        if request.line() == "GET /api/events" && token.is_some() {
            return first_event(&self.server, token.unwrap_or_default());
        }
        let mut headers: String =
            request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        headers.extend(token.map(|token| format!("Authorization: Bearer {token}\r\n")));
        response(&self.server.raw(&request.method, &request.target, &headers, request.body.as_bytes()))
    }

    fn send(&self, request: &Request) -> Response {
        self.send_as(Some(&self.server.admin()), request)
    }

    /// Changes the state so that an example succeeds, and returns it with the body that it needs.
    fn prepare(&self, request: Request) -> Request {
        let line = request.line().replace("%2E", ".");
        match line.as_str() {
            "DELETE /api/apps/keelson/channels/alpha" => {
                self.server.admin_json("DELETE", "/api/apps/keelson/groups/alpha", "");
            }
            "PUT /api/apps/keelson/uploads/amd64/2.0.0/release.json" => {
                return Request { body: release_json(), ..request };
            }
            "PUT /api/apps/keelson/images/amd64/2.0.0/images.json" => {
                let list = images::image_list("2.0.0", &["alpha"]).to_bytes().unwrap();
                return Request { body: String::from_utf8(list).unwrap(), ..request };
            }
            "POST /api/apps/keelson/keys" => {
                return Request { body: roots::body(&next_root(self)), ..request };
            }
            _ => {}
        }
        request
    }
}

fn response(reply: &HttpReply) -> Response {
    let headers = reply.head.lines().filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Response { status: reply.status, headers, body: reply.text() }
}

/// The stream does not end: reads up to the end of the first event.
fn first_event(server: &Server, token: &str) -> Response {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let head = format!("GET /api/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !text.ends_with("\n\n\r\n") {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    let (head, chunk) = text.split_once("\r\n\r\n").unwrap();
    let body = chunk.split_once("\r\n").unwrap().1.trim_end_matches("\r\n");
    response(&HttpReply { status: head[9..12].parse().unwrap(), head: head.to_owned(), body: body.into() })
}

fn release_json() -> String {
    let folder = tempfile::tempdir().unwrap();
    write_release(folder.path(), "2.0.0");
    std::fs::read_to_string(folder.path().join("release.json")).unwrap()
}

/// The root that follows the first one.
fn next_root(fixture: &Fixture) -> String {
    let (release, channel) = (roots::public(&fixture.signer), roots::online_key(&fixture.server));
    roots::signed(&roots::root(2, &release, &channel), &[1, 2])
}

/// The body that publishes another first root.
fn root_request() -> String {
    roots::body(&roots::signed(&roots::root(1, &roots::public(&keys()), &roots::public(&keys())), &[1, 2]))
}

/// Checks the requests of the document's examples, changes each on a new server.
fn check_examples(document: &mut Document) {
    let unchanged = Fixture::start();
    for request in document.examples() {
        let changed = (!["GET", "HEAD"].contains(&request.method.as_str())).then(Fixture::start);
        let fixture = changed.as_ref().unwrap_or(&unchanged);
        let request = fixture.prepare(request);
        let response = fixture.send(&request);
        assert!(response.status < 300, "{}: {response:?}", request.line());
        document.check(&request, &response);
        if request.target == "/api/events" {
            let data = response.body.strip_prefix("event: overview\ndata: ").unwrap().to_owned();
            let headers = vec![("Content-Type".to_owned(), JSON.to_owned())];
            document.check(&Request::new("GET /api/overview"), &Response { body: data, headers, ..response });
        }
    }
}

/// Checks all operations below `/api` without a token and as a viewer, and below an application that does not exist.
fn check_access(document: &mut Document) {
    let fixture = Fixture::start();
    for request in document.examples().iter().filter(|request| request.target.starts_with("/api")) {
        let line = request.line();
        let response = fixture.send_as(None, request);
        assert_eq!(response.status, 401, "{line}");
        document.check(request, &response);
        if request.method != "GET" {
            let response = fixture.send_as(Some(&fixture.server.viewer()), request);
            assert_eq!(response.status, 403, "{line}");
            document.check(request, &response);
        }
        if request.target.contains("/keelson") {
            let other = Request { target: request.target.replace("/keelson", "/nope"), ..request.clone() };
            let response = fixture.send(&other);
            assert_eq!(response.status, 404, "{line}: {response:?}");
            document.check(&other, &response);
        }
    }
}

/// Names that cannot be, bodies that are not JSON or too large, for all operations that document it.
fn check_bodies(document: &mut Document) {
    let fixture = Fixture::start();
    for request in document.examples() {
        if request.target.starts_with("/api/apps/keelson/") {
            let invalid = ["/alpha", "/beta", "/2%2E0%2E0", "/2.0.0"];
            let target =
                invalid.iter().fold(request.target.clone(), |target, part| target.replace(part, "/.x"));
            let invalid = Request { target, ..request.clone() };
            if invalid != request {
                document.check(&invalid, &fixture.send(&invalid));
            }
        }
        if request.target.starts_with("/api")
            && request.method != "GET"
            && !["uploads", "images/amd64"].iter().any(|files| request.target.contains(files))
        {
            let limit = if request.target.ends_with("/keys") { 11 << 20 } else { 64 << 10 };
            let large = Request { body: " ".repeat(limit + 1), ..request.clone() };
            let response = fixture.send(&large);
            assert_eq!(response.status, 413, "{}", request.line());
            document.check(&large, &response);
        }
        if request.headers.contains(&("Content-Type".to_owned(), JSON.to_owned())) {
            let invalid = Request { body: "{".to_owned(), ..request.clone() };
            let response = fixture.send(&invalid);
            assert_eq!(response.status, 400, "{}", request.line());
            document.check(&invalid, &response);
        }
    }
}

/// `METHOD TARGET STATUS [BODY]`, in order on one server.
const REQUESTS: &[&str] = &[
    "POST /v1/update 400 <request",
    "GET /files/keelson/metadata/nope 404",
    "GET /files/keelson/targets/channels/alpha/nope.amd64-usr 404",
    "GET /files/keelson/targets/releases/amd64-usr/2.0.0/nope.release.json 404",
    "GET /files/keelson/alpha/2.0.0/nope 404",
    "GET /files/keelson/alpha/2.0.0/release.json 200",
    "HEAD /files/keelson/alpha/2.0.0/nope 404",
    "GET /images/alpha/amd64-usr/nope 404",
    "GET /images/alpha/amd64-usr/2.0.0/nope 404",
    "GET /images/alpha/amd64-usr/2.0.0/version.txt 200",
    "GET /images/alpha/amd64-usr/current/coreos_production_vagrant.json 200",
    "GET /images/alpha/amd64-usr/2.0.0/coreos_production_image.bin.zst 200",
    "GET /images/alpha/amd64-usr/3.0.0/keelson-3.0.0-alpha.raw.zst 302",
    "GET /api/apps/keelson/channels/nope 404",
    "GET /api/apps/keelson/groups/nope 404",
    "GET /api/apps/keelson/instances/nope 404",
    // Conflicts.
    "DELETE /api/apps/keelson/channels/alpha 409",
    r#"POST /api/apps/keelson/channels/stable/promote 409 {"from":"beta"}"#,
    r#"PUT /api/apps/keelson/channels/stable 409 {"version":"2.0.0"}"#,
    "PUT /api/apps/keelson/channels/stable/floors/2.0.0 409",
    "DELETE /api/apps/keelson/packages/3.0.0 409",
    r#"POST /api/apps/keelson/packages 400 {"version":"9.0.0","arch":"../x"}"#,
    r#"POST /api/apps/keelson/packages 409 {"version":"9.0.0","arch":"amd64"}"#,
    "PUT /api/apps/keelson/uploads/amd64/9.0.0/usr.full 409 x",
    "PUT /api/apps/keelson/uploads/amd64/9.0.0/release.json 400 {}",
    "POST /api/apps/keelson/packages/9.0.0/images 404",
    "POST /api/apps/keelson/packages/4.0.0/images 404",
    "PUT /api/apps/keelson/images/amd64/3.0.0/usr.full 409 x",
    "PUT /api/apps/keelson/images/amd64/3.0.0/images.json 400 {}",
    // Optional parts of responses.
    "PUT /api/apps/keelson/channels/alpha/floors/2.0.0 200",
    "POST /api/apps/keelson/packages/2.0.0/ban 200",
    "DELETE /api/apps/keelson/packages/2.0.0/ban 200",
    r#"POST /api/apps/keelson/groups/alpha/pause 200 {"why":"a test"}"#,
    r#"PUT /api/apps/keelson/channels/alpha 200 {"version":"3.0.0"}"#,
    r#"POST /api/apps/keelson/packages 200 {"version":"2.0.0","arch":"amd64","channel":"alpha"}"#,
    "GET /api/apps/keelson/groups/alpha 200",
    "POST /api/apps/keelson/groups/alpha/resume 200",
    "GET /api/overview 200",
    r#"PUT /api/apps/keelson/instances/m1 200 {"alias":"one"}"#,
    "GET /api/apps/keelson/instances 200",
    "GET /api/apps/keelson/instances/m1/status_history 200",
    "GET /api/activity 200",
    // The files of the version are elsewhere.
    r#"POST /api/apps/keelson/packages 200 {"version":"4.0.0","arch":"amd64","files_at":"http://cdn/4/"}"#,
    "GET /api/apps/keelson/packages 200",
    "GET /files/keelson/alpha/4.0.0/usr.full 302",
    "HEAD /files/keelson/alpha/4.0.0/usr.full 302",
];

fn check_requests(document: &mut Document) {
    let fixture = Fixture::start();
    let mut check = |request: &Request, status: u16| {
        let response = fixture.send(request);
        assert_eq!(response.status, status, "{}: {response:?}", request.line());
        document.check(request, &response);
    };
    check(&Request::new("POST /v1/update").body("text/xml", &" ".repeat((64 << 10) + 1)), 400);
    let file = Request::new("GET /files/keelson/alpha/2.0.0/usr.full");
    check(&file.header("Range", "bytes=99999999-"), 416);
    // Events of a machine, up to a failure.
    for (kind, result) in [(13, 1), (14, 1), (3, 0)] {
        let mut failed = machine("m1", "1.0.0", "alpha");
        (failed.ping, failed.update_check) = (false, false);
        failed.events = vec![omaha::Event::new(omaha::EventType(kind), omaha::EventResult(result))];
        fixture.server.omaha(failed);
    }
    let machine = Request::new("GET /api/apps/keelson/instances/m1");
    assert!(serde_json::from_str::<Value>(&fixture.send(&machine).body).unwrap()["failure"].is_object());
    check(&machine, 200);
    let folder = tempfile::tempdir().unwrap();
    write_release(folder.path(), "4.0.0");
    targets::list(&fixture.server, folder.path(), &fixture.signer);
    fixture.server.upload(folder.path(), "4.0.0");
    let list = images::image_list("3.0.0", &["alpha"]);
    let send_images = Request::new("POST /api/apps/keelson/packages/3.0.0/images");
    check(&send_images, 409);
    fixture.server.list_images(&list, &fixture.signer);
    fixture.server.upload_image("3.0.0", "images.json", &list.to_bytes().unwrap());
    check(&send_images.body(JSON, r#"{"files_at":"http://cdn/3/"}"#), 200);
    check(
        &Request::new("GET /images/alpha/amd64-usr/2.0.0/keelson-2.0.0-alpha.raw.zst")
            .header("Range", "bytes=99999999-"),
        416,
    );
    for line in REQUESTS {
        let mut parts = line.splitn(4, ' ');
        let mut request = Request::new(&format!("{} {}", parts.next().unwrap(), parts.next().unwrap()));
        let status = parts.next().unwrap().parse().unwrap();
        request.body = parts.next().unwrap_or_default().to_owned();
        check(&request, status);
    }
    let keys = |body: String| Request::new("POST /api/apps/keelson/keys").body(JSON, &body);
    check(&keys(root_request()), 409);
    check(&keys(roots::body(&next_root(&fixture))), 200);
    check(&Request::new("GET /api/apps/keelson/keys"), 200);
    check(&Request::new("GET /api/apps/keelson"), 200);
}

#[test]
fn responses_are_documented() {
    let mut document = Document::read(DOCUMENT);
    check_examples(&mut document);
    check_access(&mut document);
    check_bodies(&mut document);
    check_requests(&mut document);
    document.check_all_seen(&NOT_PROVOKED);
}

#[test]
fn all_routes_are_documented() {
    let documented = Document::read(DOCUMENT).operation_lines();
    let routes = ROUTES.iter().filter(|route| !route.is_alias);
    let routes: BTreeSet<String> = routes.map(|route| format!("{} {}", route.method, route.path)).collect();
    // HEAD is documented where its response differs from that of GET.
    let (heads, documented): (BTreeSet<_>, _) =
        documented.into_iter().partition(|line| line.starts_with("HEAD "));
    assert_eq!(routes, documented);
    for head in heads {
        assert!(routes.contains(&head.replacen("HEAD", "GET", 1)), "{head}");
    }
}

#[test]
fn head_reads_as_get_does() {
    let fixture = Fixture::start();
    let document = Document::read(DOCUMENT);
    for request in document.examples().iter().filter(|request| request.method == "GET") {
        let head = Request { method: "HEAD".to_owned(), ..request.clone() };
        let viewer = fixture.server.viewer();
        let response = fixture.send_as(Some(&viewer), &head);
        let of_get = fixture.send_as(Some(&viewer), request);
        assert_eq!((response.status, response.body.as_str()), (of_get.status, ""), "{}", head.line());
    }
    for (line, status) in [("HEAD /api/nope", 404), ("POST /health", 405), ("GET /v1/update", 405)] {
        assert_eq!(fixture.send(&Request::new(line)).status, status, "{line}");
    }
}

#[test]
fn page_has_the_table() {
    Document::read(DOCUMENT).check_page(PAGE);
}
