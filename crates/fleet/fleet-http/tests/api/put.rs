//! `PUT /units/NAME`: rules, names, contents and content types.

use crate::cluster::Cluster;
use crate::server::{Server, error};
use crate::table::{check, check_error};

const SLEEP_OPTION: &str = r#""options":[{"section":"Service","name":"ExecStart","value":"/bin/sleep 1"}]"#;
const OTHER_OPTION: &str = r#""options":[{"section":"Service","name":"ExecStart","value":"/bin/sleep 2"}]"#;

/// The rules in order: a request that violates several gets the error of the first.
#[test]
fn put() {
    let put = |name: &str, body: &str, expect: &str| check(&format!("PUT /units/{name}"), body, expect);
    let refused = |name: &str, body: &str, code, message: &str| {
        check_error(&format!("PUT /units/{name}"), body, code, message);
    };
    refused("new.service", "{", 400, "unable to decode body: EOF while parsing an object at line 1 column 1");
    refused(
        "a.foo",
        r#"{"name":"b.service","desiredState":"bogus"}"#,
        400,
        "name in URL \"a.foo\" differs from unit name in request body \"b.service\"",
    );
    refused("a.foo", r#"{"desiredState":"bogus"}"#, 400, "invalid unit type: \"foo\"");
    refused("new.service", r#"{"desiredState":"bogus"}"#, 400, "invalid value \"bogus\" for JobState");
    refused("hello.service", r#"{"desiredState":"bogus"}"#, 400, "invalid value \"bogus\" for JobState");
    refused(
        "new.service",
        r#"{"desiredState":"launched"}"#,
        409,
        "unit does not exist and options field empty",
    );
    refused("new.service", r#"{"options":[]}"#, 409, "unit does not exist and options field empty");
    put("new.service", &format!("{{{SLEEP_OPTION}}}"), "201");
    put(
        "new.service",
        &format!(r#"{{"Name":"new.service","DesiredState":"launched",{SLEEP_OPTION}}}"#),
        "201",
    );
    refused("hello.service", "{}", 409, "must provide DesiredState to update existing unit");
    refused(
        "hello.service",
        &format!("{{{SLEEP_OPTION}}}"),
        409,
        "must provide DesiredState to update existing unit",
    );
    put("hello.service", r#"{"desiredState":"loaded"}"#, "204");
    put("hello.service", &format!(r#"{{"desiredState":"launched",{SLEEP_OPTION}}}"#), "204");
    put("hello.service", &format!("{{{OTHER_OPTION}}}"), "201");
    for state in ["loaded", "launched"] {
        let (bare, same, other) = (
            format!(r#"{{"desiredState":"{state}"}}"#),
            format!(r#"{{"desiredState":"{state}",{SLEEP_OPTION}}}"#),
            format!(r#"{{"desiredState":"{state}",{OTHER_OPTION}}}"#),
        );
        for body in [&bare, &same, &other] {
            refused("web@.service", body, 400, "cannot activate template \"web@.service\"");
        }
        refused("new@.service", &other, 400, "cannot activate template \"new@.service\"");
    }
    put("web@.service", r#"{"desiredState":"inactive"}"#, "204");
    put("web@.service", &format!("{{{OTHER_OPTION}}}"), "201");
}

#[test]
fn names() {
    let refused = |name: &str, message: &str| {
        check_error(&format!("PUT /units/{name}"), &format!("{{{SLEEP_OPTION}}}"), 400, message);
    };
    let long = |bytes: usize| format!("{}.service", "a".repeat(bytes - 8));
    refused(&long(257), "unit name exceeds maximum length (256)");
    check(&format!("PUT /units/{}", long(256)), &format!("{{{SLEEP_OPTION}}}"), "201");
    refused("hello", "unit name must contain \".\"");
    refused("hello.", "unit name cannot end in \".\"");
    refused("a.foo", "invalid unit type: \"foo\"");
    refused("a.Service", "invalid unit type: \"Service\"");
    refused("a@1.mount", "invalid unit type for template: \"mount\"");
    refused("a%20b.service", "invalid character ' ' in unit name");
    refused("%40.service", "unit name cannot start in \"@\"");
    for slash in ["a/b.service", "a%2Fb.service", "..%2Fb.service", "a/.service"] {
        refused(slash, "invalid character '/' in unit name");
    }
    refused("a%FFb.service", "invalid character '\u{fffd}' in unit name");
    refused("a%00b.service", "invalid character '\\0' in unit name");
    for kind in ["service", "socket", "timer", "path", "device", "mount", "automount", "target"] {
        check(&format!("PUT /units/a.{kind}"), &format!("{{{SLEEP_OPTION}}}"), "201");
    }
    for kind in ["slice", "swap", "scope", "busname", "snapshot"] {
        let right = "use service, socket, timer, path, device, mount, automount or target";
        refused(&format!("a.{kind}"), &format!("units of type \"{kind}\" cannot run: {right}"));
    }
}

/// For a new unit, and for a replaced one.
#[test]
fn requirements_of_units() {
    let check = |fleet: &[(&str, &str)], expect: Result<(), &str>| {
        let option = |(name, value): &(&str, &str)| {
            format!(r#"{{"section":"X-Fleet","name":"{name}","value":"{value}"}}"#)
        };
        let options: Vec<_> = fleet.iter().map(option).collect();
        let body = format!(r#"{{"options":[{}]}}"#, options.join(","));
        for name in ["new.service", "hello.service"] {
            match expect {
                Ok(()) => check(&format!("PUT /units/{name}"), &body, "201"),
                Err(message) => check_error(&format!("PUT /units/{name}"), &body, 400, message),
            }
        }
    };
    let (id, of, conflicts, global, replaces) = (
        ("MachineID", "x"),
        ("MachineOf", "a.service"),
        ("Conflicts", "b"),
        ("Global", "true"),
        ("Replaces", "c"),
    );
    check(
        &[of, ("Conflicts", "a*.service")],
        Err("unresolvable requirements: peer \"a.service\" matches conflict \"a*.service\""),
    );
    check(
        &[of, ("Replaces", "a.service")],
        Err("unresolvable requirements: peer \"a.service\" matches replace \"a.service\""),
    );
    check(&[id, of], Err("MachineID cannot be used with Peers"));
    check(&[id, conflicts], Err("MachineID cannot be used with Conflicts"));
    check(&[id, global], Err("MachineID cannot be used with Global"));
    check(&[id, replaces], Err("MachineID cannot be used with Replaces"));
    check(&[global, of], Err("Global cannot be used with Peers"));
    check(&[global, replaces], Err("Global cannot be used with Replaces"));
    check(&[conflicts, replaces], Err("Conflicts cannot be used with Replaces"));
    check(
        &[("MemoryRequest", "x")],
        Err(
            "invalid value \"x\" for MemoryRequest: use bytes, or a whole number with K, M, G or T, like 512M; no more than 128T",
        ),
    );
    let metadata = ("MachineMetadata", "a=b");
    for fine in
        [[global, conflicts], [id, metadata], [global, metadata], [of, metadata], [("Frob", "1"), metadata]]
    {
        check(&fine, Ok(()));
    }
}

/// Options without a text form: stored units can always be parsed.
#[test]
fn options_without_a_text_form() {
    let check = |options: &str, expect: Result<&str, &str>| {
        let server = Server::start(Cluster::with_units());
        let said = server.send("PUT /fleet/v1/units/new.service", &format!(r#"{{"options":[{options}]}}"#));
        match expect {
            Ok(text) => {
                assert_eq!(said.line(), "201", "{options}");
                let unit: fleet_api::Unit =
                    serde_json::from_str(&server.get("/fleet/v1/units/new.service").body).unwrap();
                assert_eq!(unit.file().normalised(), text, "{options}");
            }
            Err(message) => assert_eq!(said.line(), error(400, message), "{options}"),
        }
    };
    check(r#"{"section":"S","name":"A","value":" x "}"#, Ok("[S]\nA=x\n"));
    check(r#"{"section":"S","name":"A","value":"x\nB=y"}"#, Ok("[S]\nA=x\nB=y\n"));
    check(
        r#"{"section":"S","name":"A","value":"x\n[X-Fleet]\nMachineID=a\nGlobal=true"}"#,
        Err("MachineID cannot be used with Global"),
    );
    check(
        r#"{"section":"S","name":"A","value":"x\nB"}"#,
        Err("new.service: line 3, column 1: unexpected newline encountered while parsing option name"),
    );
    check(
        r#"{"section":"S\n","name":"A","value":""}"#,
        Err("new.service: line 1, column 1: unable to find end of section"),
    );
    check(
        r##"{"section":"S","name":"#A","value":"b"}"##,
        Err("new.service: its options make no text that holds any"),
    );
    let long = format!(r#"{{"section":"S","name":"A","value":"{}"}}"#, "x".repeat(1 << 20));
    check(&long, Err("new.service: line 2, column 1: line too long (max 1048576 bytes)"));
}

#[test]
fn content_types() {
    let server = Server::start(Cluster::with_units());
    let check = |line: &str, head: &[&str], expect: &str| {
        assert_eq!(
            server.request(line, head, r#"{"desiredState":"loaded"}"#).line(),
            expect,
            "{line} {head:?}"
        );
    };
    let put = "PUT /fleet/v1/units/hello.service";
    check(put, &[], &error(415, "expected 1 Content-Type, got 0"));
    check(
        put,
        &["Content-Type: application/json", "Content-Type: application/json"],
        &error(415, "expected 1 Content-Type, got 2"),
    );
    for fine in
        ["application/json", "application/json; charset=utf-8", "Application/JSON;x", " application/json "]
    {
        check(put, &[&format!("Content-Type: {fine}")], "204");
    }
    for bad in ["text/plain", "", "application/jsonx", "*/*"] {
        check(
            put,
            &[&format!("Content-Type: {bad}")],
            &error(415, "only acceptable Content-Type is application/json"),
        );
    }
    // Checked before everything else.
    check("PUT /fleet/v1/units/x", &[], &error(415, "expected 1 Content-Type, got 0"));
    for line in ["POST /keelson/v1/plan", "POST /keelson/v1/rebalance", "PUT /keelson/v1/machines/x/cordon"] {
        check(
            line,
            &["Content-Type: text/plain"],
            &error(415, "only acceptable Content-Type is application/json"),
        );
    }
}
