//! `docs/reference/api/fleet.yaml` describes what the server does.

use std::collections::BTreeSet;

use fleet_api::{ALTERNATIVE_PREFIX, PREFIX, additions};
use fleet_core::registry::{Key, UnitState};
use fleet_core::{MachineId, Refusal, RefusalScope, RefusedStep};
use fleet_http::{ADDITIONS, Failure, ORIGINAL, Route};
use openapi::{Document, Request, Response};
use unit_file::{UnitHash, UnitName};

use crate::cluster::OTHER;
use crate::programs::with_programs;
use crate::server::Server;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/api/fleet.yaml");
const PAGE: &str = include_str!("../../../../../docs/reference/http-api.md");
const JSON: &str = "application/json";
const OPTIONS: &str = r#""options":[{"section":"Service","name":"ExecStart","value":"/bin/true"}]"#;

/// Statuses that other tests provoke: slow bodies, many large bodies, many programs.
const NOT_PROVOKED: [u16; 2] = [408, 429];

fn send(server: &Server, request: &Request) -> Response {
    let head: Vec<String> = request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let response = server.request(&request.line(), &head, &request.body);
    Response { status: response.code, headers: response.head, body: response.body }
}

fn put(unit: &str, body: &str) -> Request {
    Request::new(&format!("PUT /fleet/v1/units/{unit}")).body(JSON, body)
}

/// Checks the requests of the document's examples, each on a new server.
fn check_examples(document: &mut Document) {
    for request in document.examples() {
        let response = send(&with_programs(), &request);
        assert!(response.status < 300, "{}: {response:?}", request.line());
        document.check(&request, &response);
        if let Some(path) = request.target.strip_prefix(PREFIX) {
            let alternative = Request { target: format!("{ALTERNATIVE_PREFIX}{path}"), ..request.clone() };
            let same = send(&with_programs(), &alternative);
            assert_eq!((same.status, same.body), (response.status, response.body), "{}", alternative.line());
        }
    }
}

/// Checks all documented operations while the store is unavailable, and while it rejects changes.
fn check_store_errors(document: &mut Document) {
    let (unavailable, failing) = (with_programs(), with_programs());
    unavailable.cluster.store().unavailable = true;
    failing.cluster.store().failure = Some(Failure::Store("disk full".into()));
    for request in document.examples() {
        let response = send(&unavailable, &request);
        assert_eq!(response.status, 503, "{}", request.line());
        document.check(&request, &response);
        document.check(&request, &send(&failing, &request));
    }
}

/// Programs that do not exist.
fn check_program_errors(document: &mut Document) {
    let server = with_programs();
    for (program, what) in [("systemctl", "status"), ("journalctl", "journal")] {
        std::fs::remove_file(server.folder.path().join(program)).unwrap();
        let request = Request::new(&format!("GET /keelson/v1/units/hello.service/{what}"));
        let response = send(&server, &request);
        assert_eq!(response.status, 500, "{}", request.line());
        document.check(&request, &response);
    }
}

/// Bodies that are too large or not JSON, for each operation with a body.
fn check_bodies(document: &mut Document) {
    let server = with_programs();
    for request in document.examples().iter().filter(|request| !request.body.is_empty()) {
        let line = request.line();
        let text = Request::new(&line).body("text/plain", &request.body);
        document.check(&text, &send(&server, &text));
        let malformed = Request::new(&line).body(JSON, "{");
        let response = send(&server, &malformed);
        assert_eq!(response.status, 400, "{line}");
        document.check(&malformed, &response);
        let large = Request::new(&line).header("Content-Type", JSON).header("Content-Length", "67108865");
        let response = send(&server, &large);
        assert_eq!(response.status, 413, "{line}");
        document.check(&large, &response);
    }
}

fn check_requests(document: &mut Document) {
    let server = with_programs();
    let mut check = |request: &Request, status: u16| {
        let response = send(&server, request);
        assert_eq!(response.status, status, "{}: {response:?}", request.line());
        document.check(request, &response);
    };
    let get = |target: &str| Request::new(&format!("GET {target}"));
    for path in ["units", "state", "machines"] {
        check(&get(&format!("/fleet/v1/{path}?nextPageToken=x")), 400);
    }
    check(&get("/fleet/v1/units/nope.service"), 404);
    check(&get("/fleet/v1/state/nope.service"), 404);
    check(&Request::new("DELETE /fleet/v1/units/nope.service"), 404);
    check(&put("nope.service", r#"{"desiredState":"launched"}"#), 409);
    check(&put("web@.service", r#"{"desiredState":"launched"}"#), 400);
    // A global unit, one without a machine, one on another machine.
    for name in ["glob.service", "stuck.service", "there.service"] {
        check(&get(&format!("/fleet/v1/units/{name}")), 200);
        check(&get(&format!("/keelson/v1/units/{name}/explanation")), 200);
    }
    check(&get("/keelson/v1/units/nope.service/explanation"), 404);
    for what in ["status", "journal"] {
        check(&get(&format!("/keelson/v1/units/there.service/{what}")), 404);
        check(&get(&format!("/keelson/v1/units/stuck.service/{what}")), 409);
    }
    check(&get("/keelson/v1/units/hello.service/journal?lines=all"), 400);
    let open = |id: &str| {
        Request::new(&format!("PUT /keelson/v1/machines/{id}/cordon")).body(JSON, r#"{"cordon":"draining"}"#)
    };
    check(&open("nope"), 404);
    check(&open(OTHER), 204);
    check(&get("/fleet/v1/machines"), 200);
    let plan = format!(
        r#"{{"units":[{{"name":"hello.service","desiredState":"launched",{OPTIONS}}},{{"name":"stuck.service","desiredState":"launched"}}]}}"#
    );
    check(&Request::new("POST /keelson/v1/plan").body(JSON, &plan), 200);
    let unchanged = r#"{"units":[{"name":"hello.service"}]}"#;
    check(&Request::new("POST /keelson/v1/plan").body(JSON, unchanged), 409);
    // A refusal of a machine.
    let hello = UnitName::parse("hello.service").unwrap();
    let refusal = Refusal { cause: "masked".into(), scope: RefusalScope::Machine, step: RefusedStep::Load };
    let state = UnitState {
        load: "masked".into(),
        active: "inactive".into(),
        sub: "dead".into(),
        machine: MachineId::new(crate::cluster::ME),
        hash: UnitHash::of("another text"),
        refusal: Some(refusal),
    };
    server.cluster.store().put(&Key::State(hello, state.machine.clone()), &state.encode());
    let response = send(&server, &get("/fleet/v1/state/hello.service"));
    assert!(response.body.contains(r#""refusal":"#), "{response:?}");
    check(&get("/fleet/v1/state"), 200);
    check(&get("/keelson/v1/units/hello.service/explanation"), 200);
}

#[test]
fn responses_are_documented() {
    let mut document = Document::read(DOCUMENT);
    check_examples(&mut document);
    check_store_errors(&mut document);
    check_program_errors(&mut document);
    check_bodies(&mut document);
    check_requests(&mut document);
    document.check_all_seen(&NOT_PROVOKED);
}

#[test]
fn routes_are_documented() {
    fn lines<R>(prefix: &str, routes: &[Route<R>]) -> Vec<String> {
        let all =
            routes.iter().flat_map(|route| route.methods.iter().map(move |method| (method, route.path)));
        all.map(|(method, path)| format!("{method} {prefix}/{path}")).collect()
    }
    let routes =
        [lines(PREFIX, &ORIGINAL), lines(additions::PREFIX, &ADDITIONS), vec!["GET /metrics".into()]];
    let routes: BTreeSet<String> = routes.concat().into_iter().collect();
    assert_eq!(routes, Document::read(DOCUMENT).operation_lines());
}

#[test]
fn page_has_the_table() {
    Document::read(DOCUMENT).check_page(PAGE);
}
