//! Paging of lists, and its memory usage.

use std::fs::read_to_string;

use fleet_core::JobState;
use fleet_core::registry::{JobObject, Key, UnitObject};
use unit_file::{UnitFile, UnitName};

use crate::cluster::Cluster;
use crate::server::Server;

fn check(limit: u16, path: &str, expect: &[&str]) {
    let server = Server::with_page_size(Cluster::with_units(), limit);
    let mut target = path.to_owned();
    for (at, names) in expect.iter().enumerate() {
        let page: serde_json::Value = serde_json::from_str(&server.get(&target).body).unwrap();
        let items = page.as_object().unwrap().values().find_map(|value| value.as_array()).cloned();
        let name = |item: &serde_json::Value| {
            let name = item.get("name").or(item.get("id")).unwrap().as_str().unwrap();
            name.split('.').next().unwrap()[..4].to_owned()
        };
        let got: Vec<String> = items.iter().flatten().map(name).collect();
        assert_eq!(got.join(" "), *names, "{target}");
        let token = page.get("nextPageToken").and_then(|token| token.as_str());
        assert_eq!(token.is_some(), at + 1 < expect.len(), "{target}");
        let mark = if path.contains('?') { '&' } else { '?' };
        target = format!("{path}{mark}nextPageToken={}", token.unwrap_or_default());
    }
}

#[test]
fn pages_are_linked() {
    check(2, "/fleet/v1/units", &["glob hell", "stuc ther", "web@"]);
    // The last page has no token.
    check(5, "/fleet/v1/units", &["glob hell stuc ther web@"]);
    check(1, "/fleet/v1/machines", &["113f", "20fd"]);
    check(2, "/v1-alpha/machines", &["113f 20fd"]);
    check(3, "/fleet/v1/state", &["glob glob hell", "ther"]);
    check(1, "/fleet/v1/state?unitName=glob.service", &["glob", "glob"]);
    let server = Server::with_page_size(Cluster::with_units(), 2);
    assert!(server.get("/fleet/v1/units").body.starts_with(r#"{"nextPageToken":"AgACAA==","units":["#));
    assert_eq!(server.get("/fleet/v1/machines?nextPageToken=AgACAA==").line(), "200 {}");
}

/// Peak memory of this process in KiB.
fn peak_memory_kib() -> u64 {
    let status = read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Ten thousand units with contents of 32 KiB: all of them would need 320 MB.
#[test]
fn a_page_builds_only_its_own_units() {
    let cluster = Cluster::empty();
    let file = UnitFile::from_text(&format!("[Service]\nExecStart={}\n", "x".repeat(32 << 10))).unwrap();
    let mut store = cluster.store();
    store.put(&Key::Unit(file.hash()), &UnitObject { raw: file.normalised() }.encode());
    for number in 0..10_000 {
        let name = UnitName::parse(&format!("unit{number:05}.service")).unwrap();
        let object = JobObject { name: name.to_string(), hash: file.hash() };
        store.put(&Key::JobObject(name.clone()), &object.encode());
        store.put(&Key::TargetState(name), JobState::Inactive.as_str());
    }
    drop(store);
    let server = Server::with_page_size(cluster, 10);
    let before = peak_memory_kib();
    let page: fleet_api::UnitPage = serde_json::from_str(&server.get("/fleet/v1/units").body).unwrap();
    assert_eq!(page.units.len(), 10);
    assert_eq!(page.next_page_token, "CgACAA==");
    let grown = peak_memory_kib() - before;
    assert!(grown < 64 << 10, "{grown} KiB for one page");
}
