//! Responses while the store is unavailable or returns errors.

use fleet_http::Failure;

use crate::cluster::{Cluster, ME};
use crate::server::{Server, error};

/// A valid request of each kind of change.
const CHANGES: [(&str, &str); 7] = [
    (
        "PUT /fleet/v1/units/new.service",
        r#"{"options":[{"section":"Service","name":"ExecStart","value":"/bin/true"}]}"#,
    ),
    ("PUT /fleet/v1/units/hello.service", r#"{"desiredState":"loaded"}"#),
    ("DELETE /fleet/v1/units/hello.service", ""),
    ("PATCH /fleet/v1/machines", r#"[{"op":"remove","path":"/x/metadata/y"}]"#),
    ("POST /keelson/v1/rebalance", "{}"),
    ("PUT /keelson/v1/machines/113f16a7e3c54b1da5d60f4f1e2d3c4b/cordon", r#"{"cordon":"open"}"#),
    ("PUT /v1-alpha/units/hello.service", r#"{"desiredState":"launched"}"#),
];

#[test]
fn all_paths_while_the_store_is_unavailable() {
    let server = Server::start(Cluster::with_units());
    server.cluster.store().unavailable = true;
    let unavailable = error(503, "fleet server unable to communicate with etcd");
    let paths = [
        "/",
        "/nope",
        "/metrics",
        "/fleet/v1",
        "/fleet/v1/discovery",
        "/fleet/v1/units",
        "/fleet/v1/units/hello.service",
        "/fleet/v1/state",
        "/fleet/v1/state/hello.service",
        "/fleet/v1/machines",
        "/v1-alpha/machines",
        "/keelson/v1/units",
        "/keelson/v1/units/hello.service/status",
        "/keelson/v1/units/hello.service/journal",
    ];
    for path in paths {
        let said = server.get(path);
        assert_eq!(said.line(), unavailable, "{path}");
        assert_eq!(said.header("server"), Some("fleetd/1.0.0"), "{path}");
    }
    for (line, body) in CHANGES {
        assert_eq!(server.send(line, body).line(), unavailable, "{line}");
    }
    server.cluster.store().unavailable = false;
    assert_eq!(server.get("/fleet/v1/units/hello.service").code, 200);
}

fn check(failure: Failure, expect: impl Fn(&str) -> String) {
    let server = Server::start(Cluster::with_units());
    server.cluster.store().failure = Some(failure.clone());
    for (line, body) in CHANGES {
        assert_eq!(server.send(line, body).line(), expect(line), "{failure:?} {line}");
    }
}

#[test]
fn failed_changes() {
    check(Failure::Store("disk full at /secret".into()), |_| error(500, ""));
    check(Failure::NoStore, |_| error(503, "fleet server unable to communicate with etcd"));
    check(Failure::Missing, |line| match line {
        line if line.contains("/units/") => error(404, "unit does not exist"),
        line if line.contains("machines") => error(404, "machine does not exist"),
        _ => error(404, ""),
    });
}

/// The entry exists without contents: it can be destroyed or replaced.
#[test]
fn unit_without_contents() {
    let server = Server::start(Cluster::empty());
    let object = fleet_core::registry::JobObject {
        name: "lost.service".into(),
        hash: unit_file::UnitHash::of("nobody has it"),
    };
    let key = fleet_core::registry::Key::JobObject(unit_file::UnitName::parse("lost.service").unwrap());
    let lose = || server.cluster.store().put(&key, &object.encode());
    lose();
    let unit = "/fleet/v1/units/lost.service";
    assert_eq!(server.get(unit).code, 404);
    assert_eq!(server.get("/fleet/v1/units").line(), "200 {}");
    let wake = server.send(&format!("PUT {unit}"), r#"{"desiredState":"launched"}"#);
    assert_eq!(wake.line(), error(409, "unit does not exist and options field empty"));
    assert_eq!(server.send(&format!("DELETE {unit}"), "").code, 204);
    assert_eq!(server.send(&format!("DELETE {unit}"), "").code, 404);
    lose();
    assert_eq!(server.send(&format!("PUT {unit}"), CHANGES[0].1).code, 201);
    assert_eq!(server.get(unit).code, 200);
}

/// An invalid desired state counts as inactive, until the next one is set.
#[test]
fn invalid_desired_state_in_the_store() {
    let server = Server::start(Cluster::with_units());
    let hello = unit_file::UnitName::parse("hello.service").unwrap();
    server.cluster.store().put(&fleet_core::registry::Key::TargetState(hello), "bogus");
    let unit = "/fleet/v1/units/hello.service";
    assert!(server.get(unit).body.contains(r#""desiredState":"inactive""#));
    assert!(server.get("/fleet/v1/units").body.contains("hello.service"));
    assert_eq!(server.send(&format!("PUT {unit}"), r#"{"desiredState":"launched"}"#).code, 204);
    assert!(server.get(unit).body.contains(&format!(r#""desiredState":"launched","machineID":"{ME}""#)));
    assert_eq!(server.send(&format!("DELETE {unit}"), "").code, 204);
}
