//! Requests and responses of the contract's section 7. Each row runs on the same initial cluster.

use fleet_core::MachineId;
use fleet_core::registry::Key;

use crate::cluster::{Cluster, GLOBAL, ME, OTHER, SLEEP};
use crate::server::{Server, error};

/// Checks `METHOD PATH` with a body, below both prefixes.
pub fn check(line: &str, body: &str, expect: &str) {
    let (method, path) = line.split_once(' ').unwrap();
    for prefix in ["/fleet/v1", "/v1-alpha"] {
        check_at(&format!("{method} {prefix}{path}"), body, expect);
    }
}

fn check_at(line: &str, body: &str, expect: &str) {
    let server = Server::start(Cluster::with_units());
    let said = server.send(line, body);
    assert_eq!(said.line(), expect, "{line} {body}");
    assert_eq!(said.header("server"), Some("fleetd/1.0.0"), "{line} {body}");
    let json = (!said.body.is_empty()).then_some("application/json");
    let patched = (line.starts_with("PATCH") && said.code == 204).then_some("application/json");
    assert_eq!(said.header("content-type"), json.or(patched), "{line} {body}");
}

pub fn check_error(line: &str, body: &str, code: u16, message: &str) {
    check(line, body, &error(code, message));
}

const HELLO: &str = r#"{"currentState":"launched","desiredState":"launched","machineID":"113f16a7e3c54b1da5d60f4f1e2d3c4b","name":"hello.service","options":[{"name":"ExecStart","section":"Service","value":"/bin/sleep 1"}]}"#;
const GLOB: &str = r#"{"desiredState":"launched","name":"glob.service","options":[{"name":"ExecStart","section":"Service","value":"/bin/sleep 1"},{"name":"Global","section":"X-Fleet","value":"true"}]}"#;
const STUCK: &str = r#"{"currentState":"inactive","desiredState":"launched","name":"stuck.service","options":[{"name":"MachineID","section":"X-Fleet","value":"nope"}],"schedulingMessage":"no machine is eligible: agent ID does not match required \"nope\" (on 2 machines)"}"#;
const THERE: &str = r#"{"currentState":"loaded","desiredState":"loaded","machineID":"20fd3ecb1a2b4c5d8e9f001122334455","name":"there.service","options":[{"name":"MachineID","section":"X-Fleet","value":"20fd3ecb1a2b4c5d8e9f001122334455"}]}"#;
const TEMPLATE: &str = r#"{"currentState":"inactive","desiredState":"inactive","name":"web@.service","options":[{"name":"ExecStart","section":"Service","value":"/bin/sleep 1"}]}"#;

#[test]
fn unknown_paths() {
    for path in ["/", "/fleet/v1", "/v1-alpha"] {
        check_at(&format!("GET {path}"), "", &error(405, ""));
        check_at(&format!("POST {path}"), "", &error(405, ""));
    }
    for path in
        ["/nope", "/fleet", "/fleet/v2/units", "/keelson/v1", "/keelson/v1/nope", "//", "/keelson/v1/units/a"]
    {
        check_at(&format!("GET {path}"), "", &error(404, ""));
    }
    for path in
        ["/", "/units/", "/state/", "/machines/", "/machines/x", "/units/a/b", "/units/a%2Fb", "/discovery/"]
    {
        check_error(&format!("GET {path}"), "", 404, "");
    }
}

#[test]
fn discovery_and_metrics() {
    check("GET /discovery", "", &format!("200 {}", fleet_api::discovery().trim_end()));
    check_error("POST /discovery", "", 400, "only HTTP GET supported against this resource");
    let server = Server::start(Cluster::empty());
    for path in ["/metrics", "/fleet/v1/metrics"] {
        let said = server.get(path);
        assert_eq!(said.line(), "200 fleet_engine_reconcile_count_total 1");
        assert_eq!(said.header("content-type"), Some("text/plain; version=0.0.4"));
    }
    assert_eq!(
        server.send("POST /metrics", "").line(),
        error(405, "only GET supported against this resource")
    );
}

#[test]
fn units() {
    let all = format!(r#"200 {{"units":[{GLOB},{HELLO},{STUCK},{THERE},{TEMPLATE}]}}"#);
    check("GET /units", "", &all);
    check("GET /units?alt=json&x=y", "", &all);
    check_error("POST /units", "", 405, "only GET supported against this resource");
    for (name, unit) in [
        ("hello.service", HELLO),
        ("glob.service", GLOB),
        ("stuck.service", STUCK),
        ("web%40.service", TEMPLATE),
    ] {
        check(&format!("GET /units/{name}?alt=json"), "", &format!("200 {unit}"));
    }
    for name in ["nope.service", "nope", "%ff.service", "%zz"] {
        check_error(&format!("GET /units/{name}"), "", 404, "unit does not exist");
        check_error(&format!("DELETE /units/{name}"), "", 404, "unit does not exist");
    }
    check("DELETE /units/hello.service", "", "204");
    check_error(
        "POST /units/hello.service",
        "",
        405,
        "only GET, PUT and DELETE supported against this resource",
    );
    let server = Server::start(Cluster::empty());
    assert_eq!(server.get("/fleet/v1/units").line(), "200 {}");
    assert_eq!(server.get("/fleet/v1/state").line(), "200 {}");
    assert_eq!(server.send("HEAD /fleet/v1/units", "").line(), "405");
}

#[test]
fn states() {
    let state = |name: &str, machine: &str, hash: &str, active: &str, sub: &str| {
        format!(
            r#"{{"hash":"{hash}","machineID":"{machine}","name":"{name}","systemdActiveState":"{active}","systemdLoadState":"loaded","systemdSubState":"{sub}"}}"#
        )
    };
    let hash = |text: &str| unit_file::UnitFile::from_text(text).unwrap().hash().to_string();
    let glob = |machine| {
        state("glob.service", machine, "db8384a7a3673c7722a7ff813a42b2f036b1fce3", "active", "running")
    };
    let hello = state("hello.service", ME, &hash(SLEEP), "active", "running");
    let there = format!("[X-Fleet]\nMachineID={OTHER}\n");
    let there = state("there.service", OTHER, &hash(&there), "inactive", "dead");
    let list = |states: &[&str]| format!(r#"200 {{"states":[{}]}}"#, states.join(","));
    check("GET /state", "", &list(&[&glob(ME), &glob(OTHER), &hello, &there]));
    check("GET /state?unitName=glob.service", "", &list(&[&glob(ME), &glob(OTHER)]));
    check(&format!("GET /state?machineID={OTHER}"), "", &list(&[&glob(OTHER), &there]));
    check(&format!("GET /state?unitName=glob.service&machineID={ME}&alt=json"), "", &list(&[&glob(ME)]));
    check("GET /state?unitName=hello", "", "200 {}");
    check("GET /state?machineID=113f16a7", "", "200 {}");
    check("GET /state?unitName=&machineID=", "", &list(&[&glob(ME), &glob(OTHER), &hello, &there]));
    check_error("PUT /state", "{}", 405, "only GET supported against this resource");
    check("GET /state/glob.service", "", &format!("200 {}", glob(ME)));
    check("GET /state/there.service", "", &format!("200 {there}"));
    for name in ["nope.service", "stuck.service", "x"] {
        check_error(&format!("GET /state/{name}"), "", 404, "unit state does not exist");
    }
    check_error("DELETE /state/glob.service", "", 405, "only GET supported against this resource");
}

/// States are kept for another TTL after the presence.
#[test]
fn states_of_a_machine_without_presence_are_not_listed() {
    let cluster = Cluster::with_units();
    cluster.store().delete(&Key::MachineObject(MachineId::new(OTHER)).path());
    let server = Server::start(cluster);
    let states = server.get("/fleet/v1/state");
    assert!(states.body.contains(ME) && !states.body.contains(OTHER), "{}", states.body);
    assert_eq!(server.get("/fleet/v1/state/there.service").line().split(' ').next(), Some("404"));
}

const MACHINES: &str = r#"200 {"machines":[{"id":"113f16a7e3c54b1da5d60f4f1e2d3c4b","metadata":{"az":"x"},"primaryIP":"172.17.8.101"},{"id":"20fd3ecb1a2b4c5d8e9f001122334455","metadata":{"disk":"ssd"}}]}"#;

#[test]
fn machines() {
    check("GET /machines", "", MACHINES);
    for method in ["PUT", "POST", "DELETE"] {
        check_error(
            &format!("{method} /machines"),
            "",
            405,
            "only GET and PATCH supported against this resource",
        );
    }
    check("PATCH /machines", "[]", "204");
    let op =
        |op: &str, path: &str, value: &str| format!(r#"[{{"op":"{op}","path":"{path}","value":{value}}}]"#);
    check("PATCH /machines", &op("add", "/ID/metadata/foo", "\"bar\""), "204");
    check("PATCH /machines", &op("replace", "/ID/metadata/f.o-o_", r#"{"Value":"bar"}"#), "204");
    check("PATCH /machines", r#"[{"OP":"remove","Path":"/ID/metadata/foo"}]"#, "204");
    let bad = |op: &str, message: &str| check_error("PATCH /machines", op, 400, message);
    bad(&op("noop", "/ID/metadata/foo", "\"bar\""), "invalid op: expect add, remove, or replace");
    for path in [
        "/ID/foo",
        "ID/metadata/foo",
        "/ID/metadata/",
        "/ID/metadata/a b",
        "/../metadata/a",
        "/ID/metadata/..",
        "",
    ] {
        bad(&op("add", path, "\"bar\""), "machine metadata path invalid");
    }
    for value in ["\"\"", "{}", r#"{"value":""}"#, "null", "1"] {
        bad(&op("add", "/ID/metadata/foo", value), "invalid value: add and replace require a value");
    }
    bad("{", "unable to decode body: EOF while parsing an object at line 1 column 1");
    bad(&format!("[{}{{}}]", "{},".repeat(1024)), "invalid op: expect add, remove, or replace");
    let many = [r#"{"op":"remove","path":"/ID/metadata/foo"}"#; 1025].join(",");
    bad(&format!("[{many}]"), "too many operations (max 1024)");
}

#[test]
fn invalid_page_tokens() {
    for path in ["units", "state", "machines"] {
        let bad = |query: &str, message: &str| check_error(&format!("GET /{path}?{query}"), "", 400, message);
        bad("nextPageToken=ZAACAA==&nextPageToken=ZAACAA==", "too many values for page token");
        bad("nextPageToken=EwBMLg==", "token limit must be 100");
        bad("nextPageToken=EwBMLg%3D%3D", "token limit must be 100");
        bad("nextPageToken=ZAAAAA==", "token page must be greater than zero");
        bad("nextPageToken=ZA*CAA==", "illegal base64 data at input byte 2");
        bad("nextPageToken=", "unexpected EOF");
        check(&format!("GET /{path}?nextPageToken=ZAACAA=="), "", "200 {}");
    }
}

fn check_extension(line: &str, body: &str, expect: &str) {
    let (method, path) = line.split_once(' ').unwrap();
    check_at(&format!("{method} /keelson/v1{path}"), body, expect);
}

#[test]
fn extensions() {
    let addition = check_extension;
    addition(
        "GET /units?name=hello.service&name=nope.service&name=glob.service&name=hello.service&name=x",
        "",
        &format!(r#"200 {{"units":[{GLOB},{HELLO}]}}"#),
    );
    addition("GET /units", "", "200 {}");
    addition(
        "GET /units/stuck.service/explanation",
        "",
        r#"200 {"blocked":true,"hints":["Machine(113f16a7e3c54b1da5d60f4f1e2d3c4b): change MachineID to this machine, or remove it","Machine(20fd3ecb1a2b4c5d8e9f001122334455): change MachineID to this machine, or remove it"],"machines":[{"eligible":false,"load":2000,"machineID":"113f16a7e3c54b1da5d60f4f1e2d3c4b","reasons":["agent ID does not match required \"nope\""]},{"eligible":false,"load":2000,"machineID":"20fd3ecb1a2b4c5d8e9f001122334455","reasons":["agent ID does not match required \"nope\""]}],"name":"stuck.service","summary":"stuck.service: no machine is eligible: agent ID does not match required \"nope\" (on 2 machines)"}"#,
    );
    addition("GET /units/nope.service/explanation", "", &error(404, "unit does not exist"));
    addition("POST /plan", r#"{"units":[]}"#, "200 {}");
    addition(
        "POST /plan",
        r#"{"units":[{"name":"x","desiredState":"loaded"}]}"#,
        &error(400, "unit name must contain \".\""),
    );
    addition(
        "POST /plan",
        r#"{"units":[{"name":"x.service","desiredState":"up"}]}"#,
        &error(400, "invalid value \"up\" for JobState"),
    );
    addition(
        "POST /plan",
        "",
        &error(400, "unable to decode body: EOF while parsing a value at line 1 column 0"),
    );
    addition("POST /rebalance", r#"{"dryRun":true}"#, "200 {}");
    addition(
        "POST /rebalance",
        "{}",
        r#"200 {"steps":[{"action":"move","name":"begun.service","reason":""}]}"#,
    );
    addition(&format!("PUT /machines/{ME}/cordon"), r#"{"cordon":"draining"}"#, "204");
    addition(
        &format!("PUT /machines/{ME}/cordon"),
        r#"{"cordon":"shut"}"#,
        &error(
            400,
            "unable to decode body: unknown variant `shut`, expected one of `open`, `cordoned`, `draining`",
        ),
    );
    addition("PUT /machines/nope/cordon", r#"{"cordon":"open"}"#, &error(404, "machine does not exist"));
    for (line, method) in [
        ("POST /units", "GET"),
        ("PUT /units/a/status", "GET"),
        ("GET /plan", "POST"),
        ("GET /rebalance", "POST"),
        ("GET /machines/x/cordon", "PUT"),
    ] {
        addition(line, "", &error(405, &format!("only {method} supported against this resource")));
    }
    // The plan for GLOBAL is tested in the scheduler.
    let body = format!(
        r#"{{"units":[{{"name":"glob.service","desiredState":"launched","options":{}}}]}}"#,
        options(GLOBAL)
    );
    addition("POST /plan", &body, "200 {}");
}

/// The desired state of a new or changed unit is optional.
#[test]
fn plan_accepts_the_units_of_a_put() {
    let sleep = options(SLEEP);
    for (unit, expect) in [
        (
            format!(r#"{{"name":"x.service","options":{sleep}}}"#),
            r#"200 {"steps":[{"action":"create","name":"x.service","reason":"it is not known yet"}]}"#
                .to_owned(),
        ),
        (r#"{"name":"x.service"}"#.to_owned(), error(409, "unit does not exist and options field empty")),
        (
            r#"{"name":"x.service","desiredState":"launched"}"#.to_owned(),
            error(409, "unit does not exist and options field empty"),
        ),
        (
            r#"{"name":"hello.service"}"#.to_owned(),
            error(409, "must provide DesiredState to update existing unit"),
        ),
        (
            format!(r#"{{"name":"hello.service","options":{sleep}}}"#),
            error(409, "must provide DesiredState to update existing unit"),
        ),
        (r#"{"name":"hello.service","desiredState":"launched"}"#.to_owned(), "200 {}".to_owned()),
    ] {
        check_extension("POST /plan", &format!(r#"{{"units":[{unit}]}}"#), &expect);
    }
}

fn options(text: &str) -> String {
    let file = unit_file::UnitFile::from_text(text).unwrap();
    serde_json::to_string(&fleet_api::UnitOption::from_file(&file)).unwrap()
}
