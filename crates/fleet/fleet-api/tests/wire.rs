//! Byte-exact JSON of section 7 of the contract.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

use fleet_api::additions::{Cordon, Refusal, RefusalScope, RefusedStep};
use fleet_api::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use unit_file::UnitFile;

fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, expect: &str) {
    assert_eq!(encode(value).unwrap(), expect);
    assert_eq!(&serde_json::from_str::<T>(expect).unwrap(), value);
}

#[test]
fn response_bytes() {
    let unit = Unit {
        current_state: "launched".into(),
        desired_state: "launched".into(),
        machine_id: "ID".into(),
        name: "web@4.service".into(),
        options: vec![UnitOption {
            name: "ExecStart".into(),
            section: "Service".into(),
            value: "/bin/sleep 1".into(),
        }],
        scheduling_message: String::new(),
    };
    let text = r#"{"currentState":"launched","desiredState":"launched","machineID":"ID","name":"web@4.service","options":[{"name":"ExecStart","section":"Service","value":"/bin/sleep 1"}]}"#;
    check(&unit, text);
    check(
        &UnitPage { next_page_token: "ZAACAA==".into(), units: vec![unit] },
        &format!("{{\"nextPageToken\":\"ZAACAA==\",\"units\":[{text}]}}"),
    );
    check(&UnitPage::default(), "{}");
    check(&UnitStatePage::default(), "{}");
    check(&MachinePage::default(), "{}");
    check(
        &UnitState {
            hash: "HEX40".into(),
            machine_id: "ID".into(),
            name: "N".into(),
            systemd_active_state: "active".into(),
            systemd_load_state: "loaded".into(),
            systemd_sub_state: "running".into(),
            refusal: None,
        },
        r#"{"hash":"HEX40","machineID":"ID","name":"N","systemdActiveState":"active","systemdLoadState":"loaded","systemdSubState":"running"}"#,
    );
    check(
        &UnitState {
            name: "N".into(),
            refusal: Some(Refusal {
                cause: "masked".into(),
                scope: RefusalScope::Machine,
                step: RefusedStep::Load,
            }),
            ..UnitState::default()
        },
        r#"{"name":"N","refusal":{"cause":"masked","scope":"machine","step":"load"}}"#,
    );
    let mut machine = Machine { id: "ID".into(), primary_ip: "172.17.8.101".into(), ..Machine::default() };
    check(&machine, r#"{"id":"ID","primaryIP":"172.17.8.101"}"#);
    machine.metadata = [("az".into(), "x".into())].into();
    check(&machine, r#"{"id":"ID","metadata":{"az":"x"},"primaryIP":"172.17.8.101"}"#);
    machine.cordon = Cordon::Draining;
    assert!(encode(&machine).unwrap().starts_with(r#"{"cordon":"draining","id""#));
    check(
        &ErrorDocument::new(404, "unit does not exist"),
        r#"{"error":{"code":404,"message":"unit does not exist"}}"#,
    );
    check(&ErrorDocument::new(500, ""), r#"{"error":{"code":500,"message":""}}"#);
}

#[test]
fn html_is_escaped_as_go_does() {
    let options =
        vec![UnitOption { name: "A".into(), section: "B".into(), value: "x<y>&\u{2028}\u{8}\u{c}".into() }];
    let unit = Unit { options, ..Unit::default() };
    let text = encode(&unit).unwrap();
    assert!(text.contains(r#""value":"x\u003cy\u003e\u0026\u2028\u0008\u000c""#), "{text}");
    assert_eq!(decode::<Unit>(text.as_bytes()).unwrap(), unit);
}

#[test]
fn request_keys_are_case_insensitive() {
    let unit: Unit = decode(br#"{"DesiredState":"loaded","NAME":"a.service","Options":[{"Section":"S","nAme":"N","Value":"v"}],"x":{}}"#).unwrap();
    assert_eq!((unit.desired_state.as_str(), unit.name.as_str()), ("loaded", "a.service"));
    assert_eq!(unit.file().normalised(), "[S]\nN=v\n");
    assert_eq!(decode::<Unit>(br#"{"options":null}"#).unwrap(), Unit::default());
    assert!(decode::<Unit>(b"{").is_err());
}

#[test]
fn files_round_trip() {
    let text = "[Unit]\nDescription=a\n\n[Service]\nExecStart=/bin/sh -c \"echo \\\n  x\"\nExecStart=\n";
    let file = UnitFile::from_text(text).unwrap();
    let unit = Unit::new("a.service", "inactive", Some(&file));
    assert_eq!(unit.file().normalised(), text);
    assert_eq!(unit.file().hash(), file.hash());
}

#[test]
fn page_tokens() {
    assert_eq!(PageToken { limit: 100, page: 2 }.encode(), "ZAACAA==");
    assert_eq!(PageToken { limit: 2, page: 2 }.encode(), "AgACAA==");
    let check = |values: &[&str], expect: &str| {
        let got = match PageToken::from_query(values.iter().copied(), 100) {
            Ok(token) => format!("{} {}", token.limit, token.page),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "{values:?}");
    };
    check(&[], "100 1");
    check(&["ZAACAA=="], "100 2");
    check(&["ZAACAA==", "ZAACAA=="], "too many values for page token");
    check(&["EwBMLg=="], "token limit must be 100");
    check(&["ZAAAAA=="], "token page must be greater than zero");
    check(&["ZA*CAA=="], "illegal base64 data at input byte 2");
    check(&["ZAA="], "unexpected EOF");
    check(&[&"ZAAC".repeat(1000)], "illegal base64 data at input byte 4000");
}

#[test]
fn pages() {
    let check = |items: usize, page: u16, expect: &[usize], next: Option<u16>| {
        let items: Vec<usize> = (0..items).collect();
        let (got, token) = paginate(&items, PageToken { limit: 2, page });
        assert_eq!((got, token.map(|token| token.page)), (expect, next), "{items:?} {page}");
    };
    check(0, 1, &[], None);
    check(2, 1, &[0, 1], None);
    check(3, 1, &[0, 1], Some(2));
    check(3, 2, &[2], None);
    check(3, 9, &[], None);
    check(3, u16::MAX, &[], None);
}

#[test]
fn changes_of_metadata() {
    let check = |body: &str, expect: &str| {
        let got = match parse_patches(body.as_bytes()) {
            Ok(list) => {
                let one = |patch: &MachinePatch| {
                    format!("{:?} {} {} {:?}", patch.operation, patch.machine_id, patch.key, patch.value)
                };
                list.iter().map(one).collect::<Vec<_>>().join("; ")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "{body}");
    };
    check(r#"[{"op":"add","path":"/a/metadata/k","value":"v"}]"#, "Add a k \"v\"");
    check(r#"[{"op":"replace","path":"/a/metadata/k.x_-","Value":{"Value":"v"}}]"#, "Replace a k.x_- \"v\"");
    check(r#"[{"op":"remove","path":"/a/metadata/k"}]"#, "Remove a k \"\"");
    check("[]", "");
    check(r#"[{"op":"noop","path":"/a/metadata/k"}]"#, "invalid op: expect add, remove, or replace");
    check(r#"[{"op":"remove","path":"/a/b/c"}]"#, "machine metadata path invalid");
    check(r#"[{"op":"remove","path":"/a/metadata/k/l"}]"#, "machine metadata path invalid");
    check(r#"[{"op":"remove","path":"/../metadata/k"}]"#, "machine metadata path invalid");
    check(r#"[{"op":"remove","path":"/a/metadata/.."}]"#, "machine metadata path invalid");
    check(r#"[{"op":"remove","path":"/a/metadata/..."}]"#, "Remove a ... \"\"");
    check(r#"[{"op":"add","path":"/a/metadata/k"}]"#, "invalid value: add and replace require a value");
    check(
        r#"[{"op":"add","path":"/a/metadata/k","value":{"value":""}}]"#,
        "invalid value: add and replace require a value",
    );
    assert!(parse_patches(b"{}").unwrap_err().to_string().starts_with("unable to decode body: "));
}

#[test]
fn addresses() {
    assert_eq!(path(PREFIX, &["units", "a@1.service"]), "/fleet/v1/units/a@1.service");
    assert_eq!(path(PREFIX, &["units", "a/b c?"]), "/fleet/v1/units/a%2Fb%20c%3F");
    let query = Query::default().with("nextPageToken", "ZAACAA==").with_some("unitName", "");
    assert_eq!(query.as_str(), "alt=json&nextPageToken=ZAACAA%3D%3D");
}

#[test]
fn the_discovery_document_is_consistent() {
    fn references(value: &serde_json::Value, into: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(map) => {
                into.extend(map.get("$ref").and_then(|name| name.as_str()).map(str::to_owned));
                map.values().for_each(|value| references(value, into));
            }
            serde_json::Value::Array(list) => list.iter().for_each(|value| references(value, into)),
            _ => {}
        }
    }
    let document: serde_json::Value = serde_json::from_str(discovery()).unwrap();
    assert_eq!((&document["id"], &document["baseUrl"]), (&"fleet:v1".into(), &"$ENDPOINT/fleet/v1/".into()));
    let mut named = Vec::new();
    references(&document, &mut named);
    assert!(!named.is_empty());
    for name in named {
        assert!(document["schemas"].get(&name).is_some(), "{name}");
    }
    for (resource, method) in [
        ("Machines", "List"),
        ("Units", "List"),
        ("Units", "Get"),
        ("Units", "Delete"),
        ("Units", "Set"),
        ("UnitState", "Get"),
        ("UnitState", "List"),
    ] {
        let there = &document["resources"][resource]["methods"][method];
        assert!(there["httpMethod"].is_string() && there["path"].is_string(), "{resource}.{method}");
    }
}
