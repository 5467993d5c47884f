//! Events that subscribers receive, and the queries they cost.

use std::collections::BTreeMap;
use std::time::Duration;

use systemd_units::{UnitEvent, Units};
use tokio::sync::mpsc::Receiver;

use super::fake_systemd::{Fixture, Stop, changed, name};

const SECOND: Duration = Duration::from_secs(1);

/// The next event as text: `a.service active`.
async fn next(events: &mut Receiver<UnitEvent>) -> String {
    let waited = tokio::time::timeout(3600 * SECOND, events.recv());
    match waited.await.expect("no change came").expect("changes have ended") {
        UnitEvent::StateChanged(name, state) => {
            assert_eq!(state.load, "loaded");
            format!("{name} {}", state.active)
        }
        UnitEvent::EventsLost => "everything".to_owned(),
    }
}

/// Whether no more events arrive.
async fn is_quiet(events: &mut Receiver<UnitEvent>) -> bool {
    tokio::time::timeout(60 * SECOND, events.recv()).await.is_err()
}

async fn subscribe(fixture: &Fixture) -> Receiver<UnitEvent> {
    let mut events = fixture.units.events();
    assert_eq!(next(&mut events).await, "everything");
    events
}

#[tokio::test(start_paused = true)]
async fn start_and_stop_are_reported() {
    let fixture = Fixture::new();
    fixture.put("a.service", "inactive");
    fixture.systemd.state(|state| state.units.clear());
    let mut events = subscribe(&fixture).await;
    fixture.units.start(&name("a.service")).await.unwrap();
    assert_eq!(next(&mut events).await, "a.service active");
    fixture.systemd.set_state("a.service", "activating", "auto-restart").await;
    assert_eq!(next(&mut events).await, "a.service activating");
    fixture.systemd.set_state("a.service", "failed", "failed").await;
    assert_eq!(next(&mut events).await, "a.service failed");
    fixture.units.stop(&name("a.service")).await.unwrap();
    assert_eq!(next(&mut events).await, "a.service inactive");
    assert!(is_quiet(&mut events).await);
}

#[tokio::test(start_paused = true)]
async fn object_paths_with_escapes() {
    let fixture = Fixture::new();
    let odd = r"0a:b_c.d\x2d@1.service";
    fixture.put(odd, "active");
    let mut events = subscribe(&fixture).await;
    fixture.systemd.set_state(odd, "failed", "failed").await;
    assert_eq!(next(&mut events).await, format!("{odd} failed"));
}

#[tokio::test(start_paused = true)]
async fn units_outside_of_the_directory_are_ignored() {
    let fixture = Fixture::new();
    fixture.put("a.service", "active");
    fixture.put("b.service", "active");
    let mut events = subscribe(&fixture).await;
    std::fs::remove_file(fixture.directory.join("b.service")).unwrap();
    let asked = fixture.systemd.calls("ListUnitsByNames");
    fixture.systemd.set_state("b.service", "failed", "failed").await;
    assert!(is_quiet(&mut events).await);
    assert_eq!(fixture.systemd.calls("ListUnitsByNames"), asked);
    // Not even more than the limit of pending units.
    for number in 0..5000 {
        let unit = format!("other{number}.service");
        fixture.systemd.signal(&changed(":1.1", &unit, "failed", "failed")).await;
    }
    assert!(is_quiet(&mut events).await);
    // A sender that is not systemd.
    fixture.systemd.signal(&changed(":1.66", "a.service", "failed", "failed")).await;
    assert!(is_quiet(&mut events).await);
    assert_eq!(fixture.systemd.calls("ListUnitsByNames"), asked);
}

/// A query of an inactive unit makes systemd load and unload it, which sends signals. These must not cause queries.
#[tokio::test(start_paused = true)]
async fn queries_cause_no_queries() {
    let fixture = Fixture::new();
    let names: Vec<_> = (0..100).map(|number| format!("a{number}.service")).collect();
    names.iter().for_each(|unit| fixture.put(unit, "active"));
    let mut events = subscribe(&fixture).await;
    for unit in &names {
        fixture.units.stop(&name(unit)).await.unwrap();
    }
    let mut reported: Vec<_> = Vec::new();
    for _ in &names {
        reported.push(next(&mut events).await);
    }
    reported.sort();
    let mut expected: Vec<_> = names.iter().map(|unit| format!("{unit} inactive")).collect();
    expected.sort();
    assert_eq!(reported, expected);
    let asked = fixture.systemd.calls("ListUnitsByNames");
    let all: Vec<_> = names.iter().map(|unit| name(unit)).collect();
    for round in 1..=3 {
        fixture.units.states(&all).await.unwrap();
        assert!(is_quiet(&mut events).await);
        assert_eq!(fixture.systemd.calls("ListUnitsByNames"), asked + round);
    }
    // Also if the signals arrive far apart.
    fixture.systemd.send_unit_new("a1.service").await;
    assert!(is_quiet(&mut events).await);
    fixture.systemd.send_unit_removed("a1.service").await;
    assert!(is_quiet(&mut events).await);
    assert_eq!(fixture.systemd.calls("ListUnitsByNames"), asked + 3);
}

#[tokio::test(start_paused = true)]
async fn a_start_without_a_job_is_reported() {
    let fixture = Fixture::new();
    fixture.put("a.mount", "inactive");
    let mut events = subscribe(&fixture).await;
    // systemd only signals that it has loaded the unit.
    fixture.systemd.state(|state| state.units.get_mut("a.mount").unwrap().active = "active".into());
    fixture.systemd.send_unit_new("a.mount").await;
    assert_eq!(next(&mut events).await, "a.mount active");
}

#[tokio::test(start_paused = true)]
async fn an_unloaded_failed_unit_is_reported() {
    let fixture = Fixture::new();
    fixture.put("a.service", "failed");
    let mut events = subscribe(&fixture).await;
    fixture.systemd.set_state("a.service", "failed", "failed").await;
    assert_eq!(next(&mut events).await, "a.service failed");
    fixture.systemd.send_unit_removed("a.service").await;
    assert_eq!(next(&mut events).await, "a.service inactive");
    assert!(is_quiet(&mut events).await);
}

#[tokio::test(start_paused = true)]
async fn signals_are_coalesced() {
    let fixture = Fixture::new();
    fixture.put("a.service", "active");
    fixture.put("b.service", "active");
    let mut events = subscribe(&fixture).await;
    let asked = fixture.systemd.calls("ListUnitsByNames");
    for round in 0..5000 {
        let active = if round % 2 == 0 { "activating" } else { "active" };
        fixture.systemd.set_state("a.service", active, "start").await;
    }
    fixture.systemd.set_state("b.service", "failed", "failed").await;
    // The last event of each unit has its current state.
    let mut last = BTreeMap::new();
    while last.get("b.service") != Some(&"failed".to_owned()) {
        let word = next(&mut events).await;
        let (unit, active) = word.split_once(' ').unwrap();
        last.insert(unit.to_owned(), active.to_owned());
    }
    let questions = fixture.systemd.calls("ListUnitsByNames") - asked;
    assert!((1..=20).contains(&questions), "{questions}");
}

/// The final state and number of events of a subscriber that did not read while many units changed.
async fn check_slow(units: usize, most: usize) {
    let fixture = Fixture::new();
    let names: Vec<_> = (0..units).map(|number| format!("a{number}.service")).collect();
    names.iter().for_each(|unit| fixture.put(unit, "active"));
    let mut events = subscribe(&fixture).await;
    for active in ["deactivating", "activating", "failed"] {
        for unit in &names {
            fixture.systemd.set_state(unit, active, "x").await;
        }
        tokio::time::sleep(SECOND).await;
    }
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut words = 0;
    while let Ok(Some(event)) = tokio::time::timeout(60 * SECOND, events.recv()).await {
        words += 1;
        match event {
            UnitEvent::StateChanged(name, state) => drop(known.insert(name.to_string(), state.active)),
            UnitEvent::EventsLost => {
                let all: Vec<_> = names.iter().map(|unit| name(unit)).collect();
                let states = fixture.units.states(&all).await.unwrap();
                known = states.into_iter().map(|(name, state)| (name.to_string(), state.active)).collect();
            }
        }
    }
    assert!(words <= most, "{words}");
    let expected: BTreeMap<_, _> = names.into_iter().map(|unit| (unit, "failed".to_owned())).collect();
    assert_eq!(known, expected);
}

#[tokio::test(start_paused = true)]
async fn slow_subscribers() {
    // Buffered events, then one per unit.
    check_slow(600, 256 + 600).await;
    // More than the limit of pending units.
    check_slow(4500, 256 + 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_causes_a_resync() {
    let fixture = Fixture::new();
    fixture.put("a.service", "active");
    let mut events = subscribe(&fixture).await;
    for _ in 0..2 {
        fixture.systemd.state(|state| state.refuse_dials = 5);
        fixture.systemd.cut().await;
        assert_eq!(next(&mut events).await, "everything");
        fixture.systemd.set_state("a.service", "failed", "failed").await;
        assert_eq!(next(&mut events).await, "a.service failed");
    }
    assert!(is_quiet(&mut events).await);
}

#[tokio::test(start_paused = true)]
async fn a_re_executed_systemd_is_subscribed_to() {
    let fixture = Fixture::new();
    fixture.put("a.service", "active");
    let mut events = subscribe(&fixture).await;
    let dials = fixture.systemd.state(|state| state.dials);
    fixture.systemd.reexecute().await;
    assert_eq!(next(&mut events).await, "everything");
    fixture.systemd.set_state("a.service", "failed", "failed").await;
    assert_eq!(next(&mut events).await, "a.service failed");
    assert_eq!(fixture.systemd.state(|state| state.dials), dials);
}

#[tokio::test(start_paused = true)]
async fn a_reload_causes_a_resync() {
    for reload_drops_subscribers in [false, true] {
        let fixture = Fixture::new();
        fixture.put("a.service", "active");
        let mut events = subscribe(&fixture).await;
        fixture.systemd.state(|state| state.reload_drops_subscribers = reload_drops_subscribers);
        fixture.units.daemon_reload().await.unwrap();
        assert_eq!(next(&mut events).await, "everything");
        fixture.systemd.set_state("a.service", "failed", "failed").await;
        assert_eq!(next(&mut events).await, "a.service failed");
        assert!(is_quiet(&mut events).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reloaded_unit_is_reported_again() {
    let fixture = Fixture::new();
    fixture.put("a.service", "active");
    let mut events = subscribe(&fixture).await;
    fixture.systemd.set_state("a.service", "active", "exited").await;
    assert_eq!(next(&mut events).await, "a.service active");
    fixture.units.unload(&name("a.service")).await.unwrap();
    assert!(is_quiet(&mut events).await);
    fixture.put("a.service", "active");
    fixture.systemd.set_state("a.service", "active", "exited").await;
    assert_eq!(next(&mut events).await, "a.service active");
}

#[tokio::test(start_paused = true)]
async fn a_unit_being_removed_is_not_reported() {
    for refused in [false, true] {
        let fixture = Fixture::new();
        fixture.put("a.service", "active");
        fixture.put("b.service", "active");
        let mut events = subscribe(&fixture).await;
        // The first waits for the second, after its links were removed.
        fixture.systemd.state(|state| {
            state.hold_method = Some(("ResetFailedUnit", 2));
            if refused {
                let words = ("org.freedesktop.DBus.Error.AccessDenied", "Permission denied");
                state.error_replies.insert("ResetFailedUnit a.service".into(), words);
            }
        });
        let units = fixture.units.clone();
        let unloading = tokio::spawn(async move { units.unload(&name("a.service")).await });
        fixture.systemd.until_called("ResetFailedUnit a.service", 1).await;
        fixture.systemd.signal(&changed(":1.1", "a.service", "inactive", "dead")).await;
        tokio::time::sleep(SECOND).await;
        fixture.units.unload(&name("b.service")).await.unwrap();
        assert_eq!(unloading.await.unwrap().is_err(), refused);
        if refused {
            // It still exists, without links.
            let event = tokio::time::timeout(60 * SECOND, events.recv()).await.unwrap().unwrap();
            let UnitEvent::StateChanged(unit, state) = event else { panic!("{event:?}") };
            assert_eq!((unit.as_str(), state.load.as_str()), ("a.service", "not-found"));
        }
        assert!(is_quiet(&mut events).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_unit_removed_during_a_query_is_not_reported() {
    let fixture = Fixture::new();
    fixture.put("a.service", "active");
    let mut events = subscribe(&fixture).await;
    fixture.systemd.state(|state| state.hold_method = Some(("ListUnitsByNames", 2)));
    fixture.systemd.set_state("a.service", "failed", "failed").await;
    fixture.systemd.until_called("ListUnitsByNames a.service", 1).await;
    std::fs::remove_file(fixture.directory.join("a.service")).unwrap();
    fixture.units.states(&[name("b.service")]).await.unwrap();
    assert!(is_quiet(&mut events).await);
}

#[tokio::test(start_paused = true)]
async fn all_subscribers_receive_events() {
    let fixture = Fixture::new();
    fixture.put("a.service", "active");
    let mut readers = [subscribe(&fixture).await, subscribe(&fixture).await];
    fixture.systemd.set_state("a.service", "failed", "failed").await;
    for reader in &mut readers {
        assert_eq!(next(reader).await, "a.service failed");
    }
    let [mut temp_dir, dropped] = readers;
    drop(dropped);
    fixture.systemd.set_state("a.service", "active", "running").await;
    assert_eq!(next(&mut temp_dir).await, "a.service active");
}

#[tokio::test]
async fn resources_are_released_without_subscribers() {
    let fixture = Fixture::new();
    fixture.put("a.service", "active");
    fixture.systemd.state(|state| state.stops.insert("a.service".into(), Stop::Held));
    let events = subscribe(&fixture).await;
    let stopping = {
        let units = fixture.units.clone();
        tokio::spawn(async move { units.stop(&name("a.service")).await })
    };
    fixture.systemd.until_called("StopUnit", 1).await;
    stopping.abort();
    stopping.await.unwrap_err();
    drop(events);
    let Fixture { systemd, units, .. } = fixture;
    let last: Units = units;
    drop(last);
    let connections =
        |state: &super::fake_systemd::State| if state.ended == 1 { Ok(()) } else { Err(state.peers.len()) };
    systemd.until(connections).await;
}
