//! Arbitrary requests get a response of the API without a server error, and the server survives.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::cluster::{Cluster, ME};
use crate::server::Server;

/// Valid, invalid and unusual names and ids.
fn name() -> impl Strategy<Value = String> {
    let known = vec![
        "hello.service",
        "glob.service",
        "there.service",
        "web@.service",
        "new.service",
        "new@.service",
        "a.slice",
        "x",
        "..",
        "%2F",
        "%00",
        "%ff",
        "%zz",
        "",
        ME,
        "x/y",
    ];
    prop_oneof![8 => select(known).prop_map(str::to_owned), 1 => "[A-Za-z0-9._~!$&'()*,;:@-]{0,4}"]
}

fn query() -> impl Strategy<Value = String> {
    let known = vec![
        "name=hello.service",
        "name=",
        "nextPageToken=ZAACAA==",
        "nextPageToken=",
        "nextPageToken=ZAD__w==",
        "unitName=glob.service",
        "machineID=x",
        "lines=5",
        "follow=no",
        "alt=json",
        "%zz=+",
        "&",
        "=",
    ];
    vec(select(known), 0..4).prop_map(|parts| parts.join("&"))
}

fn target() -> impl Strategy<Value = String> {
    let prefix = select(vec!["/fleet/v1", "/fleet/v1", "/v1-alpha", "/keelson/v1", "", "/"]);
    let resource = select(vec![
        "/units",
        "/units",
        "/units/",
        "/units/",
        "/units/",
        "/state",
        "/state/",
        "/machines",
        "/machines/",
        "/discovery",
        "/metrics",
        "/plan",
        "/rebalance",
        "",
        "/",
    ]);
    let below = select(vec!["", "", "", "", "/explanation", "/status", "/journal", "/cordon", "/"]);
    (prefix, resource, name(), below, query()).prop_map(|(prefix, resource, name, below, query)| {
        let name = if resource.ends_with('/') { name } else { String::new() };
        let target = format!("{prefix}{resource}{name}{below}?{query}");
        if target.starts_with('/') { target } else { format!("/{target}") }
    })
}

/// Valid documents: a unit, or operations on metadata.
fn valid_json() -> impl Strategy<Value = serde_json::Value> {
    let option = (
        select(vec!["Service", "X-Fleet", "S]", ""]),
        select(vec!["ExecStart", "MachineOf", "Conflicts", "Global", "MachineID", "#", "MemoryRequest", ""]),
        select(vec!["/bin/true", "a*", "true", "a\n[b]", "a\\", "1G", "\"", ""]),
    );
    let option =
        option.prop_map(|(section, name, value)| json!({ "section": section, "name": name, "value": value }));
    let state = select(vec!["launched", "loaded", "inactive", "bogus", ""]);
    let unit = (name(), state, vec(option, 0..3)).prop_map(|(name, state, options)| {
        // Mostly without a name, as the URL has it.
        let name = if name == "hello.service" { name } else { String::new() };
        json!({ "name": name, "desiredState": state, "options": options })
    });
    let unit = unit.boxed();
    let operation = (select(vec!["add", "remove", "replace", "x"]), select(vec!["/m/metadata/k", "/m/k"]))
        .prop_map(|(operation, path)| json!({ "op": operation, "path": path, "value": { "value": "v" } }));
    prop_oneof![
        4 => unit.clone(),
        1 => vec(unit, 0..3).prop_map(|units| json!({ "units": units })),
        2 => vec(operation, 0..3).prop_map(serde_json::Value::from),
        1 => select(vec!["open", "draining", "x"]).prop_map(|cordon| json!({ "cordon": cordon })),
        1 => any::<bool>().prop_map(|dry| json!({ "dryRun": dry })),
    ]
}

/// Arbitrary JSON.
fn arbitrary_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        ".{0,5}".prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
    ];
    let key = select(vec![
        "name",
        "options",
        "desiredState",
        "section",
        "value",
        "op",
        "path",
        "cordon",
        "dryRun",
        "units",
        "x",
        "Options",
    ]);
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            vec((key.clone(), inner), 0..5)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => valid_json().prop_map(|json| json.to_string()),
        3 => arbitrary_json().prop_map(|json| json.to_string()),
        1 => ".{0,40}",
        1 => Just("[".repeat(100_000)),
    ]
}

#[test]
fn every_request_gets_a_response() {
    let server = Server::start(Cluster::with_units());
    for program in ["systemctl", "journalctl"] {
        std::os::unix::fs::symlink("/bin/true", server.folder.path().join(program)).unwrap();
    }
    // Requests that are nearly valid.
    let put = (name(), body()).prop_map(|(name, body)| ("PUT", format!("/fleet/v1/units/{name}"), body));
    let method = select(vec!["GET", "GET", "PUT", "PUT", "POST", "DELETE", "PATCH", "HEAD", "NONSENSE"]);
    let request = prop_oneof![2 => (method, target(), body()), 1 => put];
    let config = ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() };
    let mut codes = std::collections::BTreeSet::new();
    let codes_seen = std::cell::RefCell::new(&mut codes);
    let asked = TestRunner::new(config).run(&request, |(method, target, body)| {
        let said = server.send(&format!("{method} {target}"), &body);
        codes_seen.borrow_mut().insert(said.code);
        prop_assert!(said.code < 500, "{:?}", said);
        prop_assert!(
            said.code < 300 || said.body.is_empty() || said.body.starts_with("{\"error\":{"),
            "{:?}",
            said
        );
        Ok(())
    });
    asked.unwrap();
    // The requests covered all outcomes.
    for code in [200, 201, 204, 400, 404, 405, 409] {
        assert!(codes.contains(&code), "{codes:?}");
    }
}
