//! A unit's whole way, and what is told of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use systemd_units::{Bus, Change, Error, SystemdState, Units};
use unit_file::{UnitFile, UnitName};

use super::fake::{Node, file, name, told};

const HELLO: &str = "[Service]\nExecStart=/bin/bash -c 'while true; do sleep 1; done'\n";

fn state(words: &str) -> SystemdState {
    let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
    let [load, active, sub] = words.try_into().unwrap();
    SystemdState { load, active, sub }
}

async fn check(node: &Node, unit: &UnitName, expected: &str) {
    let states = node.units.states(std::slice::from_ref(unit)).await.unwrap();
    assert_eq!(states, BTreeMap::from([(unit.clone(), state(expected))]));
}

/// The original's test of this name.
#[tokio::test]
async fn test_systemd_unit_flow() {
    let node = Node::new();
    let hello = name("hello.service");
    assert_eq!(node.units.found().await.unwrap(), BTreeMap::new());

    node.units.load(&hello, &file(HELLO)).await.unwrap();
    node.units.reload().await.unwrap();
    let found = node.units.found().await.unwrap();
    let hashes: Vec<_> = found.iter().map(|(name, file)| (name.as_str(), file.hash())).collect();
    assert_eq!(hashes, [("hello.service", file(HELLO).hash())]);
    check(&node, &hello, "loaded inactive dead").await;

    assert_eq!(node.units.start(&hello).await.unwrap(), 1);
    check(&node, &hello, "loaded active running").await;

    node.units.stop(&hello).await.unwrap();
    check(&node, &hello, "loaded inactive dead").await;

    node.units.unload(&hello).await.unwrap();
    node.units.reload().await.unwrap();
    assert_eq!(node.units.found().await.unwrap(), BTreeMap::new());
    check(&node, &hello, "not-found inactive dead").await;
    assert!(node.fake.state(|state| state.links().is_empty() && state.units.is_empty()));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_lines_that_people_search_for() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).without_time();
    let _lines = tracing::subscriber::set_default(lines.with_target(false).finish());
    let node = Node::new();
    node.put("hello.service", "inactive");
    node.units.start(&name("hello.service")).await.unwrap();
    node.units.stop(&name("hello.service")).await.unwrap();
    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    let lines = " INFO Triggered systemd unit hello.service start: job=1\n INFO Triggered systemd unit hello.service stop\n";
    assert_eq!(text, lines);
}

#[tokio::test]
async fn errors_have_the_unit_the_call_and_the_words_of_systemd() {
    let node = Node::new();
    let refused = node.units.start(&name("hello.service")).await.unwrap_err();
    let text =
        "StartUnit of hello.service: org.freedesktop.systemd1.NoSuchUnit: Unit hello.service not found.";
    assert_eq!(told(&refused), text);
    let words = ("org.freedesktop.DBus.Error.AccessDenied", "Permission denied");
    node.fake.state(|state| state.refusals.insert("StartUnit hello.service".into(), words));
    let refused = node.units.start(&name("hello.service")).await.unwrap_err();
    let text = "StartUnit of hello.service: org.freedesktop.DBus.Error.AccessDenied: Permission denied";
    assert_eq!(told(&refused), text);
}

#[tokio::test]
async fn names_that_systemd_does_not_take() {
    let node = Node::new();
    for unit in ["hello@.service", ".service", "a.slice", &format!("{}.service", "a".repeat(248))] {
        let unit = name(unit);
        let refused = node.units.load(&unit, &file(HELLO)).await.unwrap_err();
        assert!(matches!(refused, Error::Name { .. }), "{refused}");
        node.units.start(&unit).await.unwrap_err();
        node.units.stop(&unit).await.unwrap();
        node.units.kill(&unit).await.unwrap();
        assert_eq!(node.units.states(std::slice::from_ref(&unit)).await.unwrap(), BTreeMap::new());
        node.units.unload(&unit).await.unwrap();
    }
    // A template that somebody put there goes.
    std::fs::write(node.folder.join("hello@.service"), HELLO).unwrap();
    node.units.unload(&name("hello@.service")).await.unwrap();
    assert_eq!(node.units.found().await.unwrap(), BTreeMap::new());
}

#[tokio::test]
async fn what_is_killed_is_all_of_it_and_may_be_nothing() {
    let node = Node::new();
    node.put("hello.service", "active");
    node.units.kill(&name("hello.service")).await.unwrap();
    assert_eq!(node.fake.calls("KillUnit hello.service"), 1);
    node.units.kill(&name("other.service")).await.unwrap();
    node.units.kill(&name("x.target")).await.unwrap();
    assert_eq!(node.fake.calls("KillUnit"), 2);
}

/// They are used from tasks of many threads.
#[test]
fn all_futures_may_be_sent() {
    fn sent<T: Send>(_: T) {}
    let folder = tempfile::tempdir().unwrap();
    let units = Units::open(&folder.path().join("units"), Bus::Session).unwrap();
    let (unit, text): (UnitName, UnitFile) = (name("a.service"), file(HELLO));
    sent(units.found());
    sent(units.load(&unit, &text));
    sent(units.unload(&unit));
    sent(units.reload());
    sent(units.start(&unit));
    sent(units.stop(&unit));
    sent(units.kill(&unit));
    sent(units.states(std::slice::from_ref(&unit)));
    let _: fn(&Units) -> tokio::sync::mpsc::Receiver<Change> = Units::changes;
}
