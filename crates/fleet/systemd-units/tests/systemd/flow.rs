//! The life cycle of a unit with its log messages.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use systemd_units::{Bus, Error, SystemdState, UnitEvent, Units};
use unit_file::{UnitFile, UnitName};

use super::fake_systemd::{Fixture, error_chain, file, name};

const HELLO: &str = "[Service]\nExecStart=/bin/bash -c 'while true; do sleep 1; done'\n";

fn state(words: &str) -> SystemdState {
    let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
    let [load, active, sub] = words.try_into().unwrap();
    SystemdState { load, active, sub }
}

async fn check(fixture: &Fixture, unit: &UnitName, expected: &str) {
    let states = fixture.units.states(std::slice::from_ref(unit)).await.unwrap();
    assert_eq!(states, BTreeMap::from([(unit.clone(), state(expected))]));
}

/// The original's test of this name.
#[tokio::test]
async fn test_systemd_unit_flow() {
    let fixture = Fixture::new();
    let hello = name("hello.service");
    assert_eq!(fixture.units.list_unit_files().await.unwrap(), BTreeMap::new());

    fixture.units.load(&hello, &file(HELLO)).await.unwrap();
    fixture.units.daemon_reload().await.unwrap();
    let found = fixture.units.list_unit_files().await.unwrap();
    let hashes: Vec<_> = found.iter().map(|(name, file)| (name.as_str(), file.hash())).collect();
    assert_eq!(hashes, [("hello.service", file(HELLO).hash())]);
    check(&fixture, &hello, "loaded inactive dead").await;

    assert_eq!(fixture.units.start(&hello).await.unwrap(), 1);
    check(&fixture, &hello, "loaded active running").await;

    fixture.units.stop(&hello).await.unwrap();
    check(&fixture, &hello, "loaded inactive dead").await;

    fixture.units.unload(&hello).await.unwrap();
    fixture.units.daemon_reload().await.unwrap();
    assert_eq!(fixture.units.list_unit_files().await.unwrap(), BTreeMap::new());
    check(&fixture, &hello, "not-found inactive dead").await;
    assert!(fixture.systemd.state(|state| state.links().is_empty() && state.units.is_empty()));
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
async fn log_messages() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).without_time();
    let _lines = tracing::subscriber::set_default(lines.with_target(false).finish());
    let fixture = Fixture::new();
    fixture.put("hello.service", "inactive");
    fixture.units.start(&name("hello.service")).await.unwrap();
    fixture.units.stop(&name("hello.service")).await.unwrap();
    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    let lines = " INFO Triggered systemd unit hello.service start: job=1\n INFO Triggered systemd unit hello.service stop\n";
    assert_eq!(text, lines);
}

#[tokio::test]
async fn errors_name_unit_and_call() {
    let fixture = Fixture::new();
    let refused = fixture.units.start(&name("hello.service")).await.unwrap_err();
    let text =
        "StartUnit of hello.service: org.freedesktop.systemd1.NoSuchUnit: Unit hello.service not found.";
    assert_eq!(error_chain(&refused), text);
    let words = ("org.freedesktop.DBus.Error.AccessDenied", "Permission denied");
    fixture.systemd.state(|state| state.error_replies.insert("StartUnit hello.service".into(), words));
    let refused = fixture.units.start(&name("hello.service")).await.unwrap_err();
    let text = "StartUnit of hello.service: org.freedesktop.DBus.Error.AccessDenied: Permission denied";
    assert_eq!(error_chain(&refused), text);
}

#[tokio::test]
async fn unsupported_names() {
    let fixture = Fixture::new();
    for unit in ["hello@.service", ".service", "a.slice", &format!("{}.service", "a".repeat(248))] {
        let unit = name(unit);
        let refused = fixture.units.load(&unit, &file(HELLO)).await.unwrap_err();
        assert!(matches!(refused, Error::UnsupportedName { .. }), "{refused}");
        fixture.units.start(&unit).await.unwrap_err();
        fixture.units.stop(&unit).await.unwrap();
        fixture.units.kill(&unit).await.unwrap();
        assert_eq!(fixture.units.states(std::slice::from_ref(&unit)).await.unwrap(), BTreeMap::new());
        fixture.units.unload(&unit).await.unwrap();
    }
    // A template in the directory is removed.
    std::fs::write(fixture.directory.join("hello@.service"), HELLO).unwrap();
    fixture.units.unload(&name("hello@.service")).await.unwrap();
    assert_eq!(fixture.units.list_unit_files().await.unwrap(), BTreeMap::new());
}

#[tokio::test]
async fn kill_reaches_all_processes() {
    let fixture = Fixture::new();
    fixture.put("hello.service", "active");
    fixture.units.kill(&name("hello.service")).await.unwrap();
    assert_eq!(fixture.systemd.calls("KillUnit hello.service"), 1);
    fixture.units.kill(&name("other.service")).await.unwrap();
    fixture.units.kill(&name("x.target")).await.unwrap();
    assert_eq!(fixture.systemd.calls("KillUnit"), 2);
}

/// `Units` is used from several threads.
#[test]
fn futures_are_send() {
    fn sent<T: Send>(_: T) {}
    let directory = tempfile::tempdir().unwrap();
    let units = Units::open(&directory.path().join("units"), Bus::Session).unwrap();
    let (unit, text): (UnitName, UnitFile) = (name("a.service"), file(HELLO));
    sent(units.list_unit_files());
    sent(units.load(&unit, &text));
    sent(units.unload(&unit));
    sent(units.daemon_reload());
    sent(units.start(&unit));
    sent(units.stop(&unit));
    sent(units.kill(&unit));
    sent(units.states(std::slice::from_ref(&unit)));
    let _: fn(&Units) -> tokio::sync::mpsc::Receiver<UnitEvent> = Units::events;
}
