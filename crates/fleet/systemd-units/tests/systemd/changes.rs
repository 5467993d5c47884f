//! What readers of changes are told, and what they cost.

use std::collections::BTreeMap;
use std::time::Duration;

use systemd_units::{Change, Units};
use tokio::sync::mpsc::Receiver;

use super::fake::{Node, Stop, changed, name};

const SECOND: Duration = Duration::from_secs(1);

/// The next word, as text: `a.service active`.
async fn next(changes: &mut Receiver<Change>) -> String {
    let waited = tokio::time::timeout(3600 * SECOND, changes.recv());
    match waited.await.expect("no change came").expect("changes have ended") {
        Change::State(name, state) => {
            assert_eq!(state.load, "loaded");
            format!("{name} {}", state.active)
        }
        Change::Everything => "everything".to_owned(),
    }
}

/// Whether nothing more comes.
async fn is_quiet(changes: &mut Receiver<Change>) -> bool {
    tokio::time::timeout(60 * SECOND, changes.recv()).await.is_err()
}

async fn reading(node: &Node) -> Receiver<Change> {
    let mut changes = node.units.changes();
    assert_eq!(next(&mut changes).await, "everything");
    changes
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_is_started_and_stopped() {
    let node = Node::new();
    node.put("a.service", "inactive");
    node.fake.state(|state| state.units.clear());
    let mut changes = reading(&node).await;
    node.units.start(&name("a.service")).await.unwrap();
    assert_eq!(next(&mut changes).await, "a.service active");
    node.fake.change("a.service", "activating", "auto-restart").await;
    assert_eq!(next(&mut changes).await, "a.service activating");
    node.fake.change("a.service", "failed", "failed").await;
    assert_eq!(next(&mut changes).await, "a.service failed");
    node.units.stop(&name("a.service")).await.unwrap();
    assert_eq!(next(&mut changes).await, "a.service inactive");
    assert!(is_quiet(&mut changes).await);
}

#[tokio::test(start_paused = true)]
async fn the_unit_that_a_path_means() {
    let node = Node::new();
    let odd = r"0a:b_c.d\x2d@1.service";
    node.put(odd, "active");
    let mut changes = reading(&node).await;
    node.fake.change(odd, "failed", "failed").await;
    assert_eq!(next(&mut changes).await, format!("{odd} failed"));
}

#[tokio::test(start_paused = true)]
async fn units_of_others_are_none_of_ours() {
    let node = Node::new();
    node.put("a.service", "active");
    node.put("b.service", "active");
    let mut changes = reading(&node).await;
    std::fs::remove_file(node.folder.join("b.service")).unwrap();
    let asked = node.fake.calls("ListUnitsByNames");
    node.fake.change("b.service", "failed", "failed").await;
    assert!(is_quiet(&mut changes).await);
    assert_eq!(node.fake.calls("ListUnitsByNames"), asked);
    // Not even as many as a reader's set does not hold.
    for number in 0..5000 {
        let unit = format!("other{number}.service");
        node.fake.signal(&changed(":1.1", &unit, "failed", "failed")).await;
    }
    assert!(is_quiet(&mut changes).await);
    // Somebody on the bus who is not systemd.
    node.fake.signal(&changed(":1.66", "a.service", "failed", "failed")).await;
    assert!(is_quiet(&mut changes).await);
    assert_eq!(node.fake.calls("ListUnitsByNames"), asked);
}

/// Each question about a unit that is down makes systemd read it and forget it, which it tells: no question may follow
/// from that.
#[tokio::test(start_paused = true)]
async fn questions_do_not_lead_to_questions() {
    let node = Node::new();
    let names: Vec<_> = (0..100).map(|number| format!("a{number}.service")).collect();
    names.iter().for_each(|unit| node.put(unit, "active"));
    let mut changes = reading(&node).await;
    for unit in &names {
        node.units.stop(&name(unit)).await.unwrap();
    }
    let mut told: Vec<_> = Vec::new();
    for _ in &names {
        told.push(next(&mut changes).await);
    }
    told.sort();
    let mut expected: Vec<_> = names.iter().map(|unit| format!("{unit} inactive")).collect();
    expected.sort();
    assert_eq!(told, expected);
    let asked = node.fake.calls("ListUnitsByNames");
    let all: Vec<_> = names.iter().map(|unit| name(unit)).collect();
    for round in 1..=3 {
        node.units.states(&all).await.unwrap();
        assert!(is_quiet(&mut changes).await);
        assert_eq!(node.fake.calls("ListUnitsByNames"), asked + round);
    }
    // Also where the one word comes long before the other.
    node.fake.appear("a1.service").await;
    assert!(is_quiet(&mut changes).await);
    node.fake.forget("a1.service").await;
    assert!(is_quiet(&mut changes).await);
    assert_eq!(node.fake.calls("ListUnitsByNames"), asked + 3);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_comes_up_without_a_job_is_seen() {
    let node = Node::new();
    node.put("a.mount", "inactive");
    let mut changes = reading(&node).await;
    // systemd tells of it when it has read it anew, and then only that.
    node.fake.state(|state| state.units.get_mut("a.mount").unwrap().active = "active".into());
    node.fake.appear("a.mount").await;
    assert_eq!(next(&mut changes).await, "a.mount active");
}

#[tokio::test(start_paused = true)]
async fn a_failed_unit_that_systemd_forgets_is_seen() {
    let node = Node::new();
    node.put("a.service", "failed");
    let mut changes = reading(&node).await;
    node.fake.change("a.service", "failed", "failed").await;
    assert_eq!(next(&mut changes).await, "a.service failed");
    node.fake.forget("a.service").await;
    assert_eq!(next(&mut changes).await, "a.service inactive");
    assert!(is_quiet(&mut changes).await);
}

#[tokio::test(start_paused = true)]
async fn thousands_of_signals_are_few_questions() {
    let node = Node::new();
    node.put("a.service", "active");
    node.put("b.service", "active");
    let mut changes = reading(&node).await;
    let asked = node.fake.calls("ListUnitsByNames");
    for round in 0..5000 {
        let active = if round % 2 == 0 { "activating" } else { "active" };
        node.fake.change("a.service", active, "start").await;
    }
    node.fake.change("b.service", "failed", "failed").await;
    // The last word on each is how it is.
    let mut last = BTreeMap::new();
    while last.get("b.service") != Some(&"failed".to_owned()) {
        let word = next(&mut changes).await;
        let (unit, active) = word.split_once(' ').unwrap();
        last.insert(unit.to_owned(), active.to_owned());
    }
    let questions = node.fake.calls("ListUnitsByNames") - asked;
    assert!((1..=20).contains(&questions), "{questions}");
}

/// What a reader has in the end that did not read while many units changed, and how many words that took.
async fn check_slow(units: usize, most: usize) {
    let node = Node::new();
    let names: Vec<_> = (0..units).map(|number| format!("a{number}.service")).collect();
    names.iter().for_each(|unit| node.put(unit, "active"));
    let mut changes = reading(&node).await;
    for active in ["deactivating", "activating", "failed"] {
        for unit in &names {
            node.fake.change(unit, active, "x").await;
        }
        tokio::time::sleep(SECOND).await;
    }
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut words = 0;
    while let Ok(Some(change)) = tokio::time::timeout(60 * SECOND, changes.recv()).await {
        words += 1;
        match change {
            Change::State(name, state) => drop(known.insert(name.to_string(), state.active)),
            Change::Everything => {
                let all: Vec<_> = names.iter().map(|unit| name(unit)).collect();
                let states = node.units.states(&all).await.unwrap();
                known = states.into_iter().map(|(name, state)| (name.to_string(), state.active)).collect();
            }
        }
    }
    assert!(words <= most, "{words}");
    let expected: BTreeMap<_, _> = names.into_iter().map(|unit| (unit, "failed".to_owned())).collect();
    assert_eq!(known, expected);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_slow_has_each_unit_once_more_or_asks_for_all() {
    // What waits in the channel, and then each once.
    check_slow(600, 256 + 600).await;
    // More than the set holds.
    check_slow(4500, 256 + 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_comes_back_begins_with_everything() {
    let node = Node::new();
    node.put("a.service", "active");
    let mut changes = reading(&node).await;
    for _ in 0..2 {
        node.fake.state(|state| state.refuse_dials = 5);
        node.fake.cut().await;
        assert_eq!(next(&mut changes).await, "everything");
        node.fake.change("a.service", "failed", "failed").await;
        assert_eq!(next(&mut changes).await, "a.service failed");
    }
    assert!(is_quiet(&mut changes).await);
}

#[tokio::test(start_paused = true)]
async fn a_systemd_that_was_replaced_is_listened_to() {
    let node = Node::new();
    node.put("a.service", "active");
    let mut changes = reading(&node).await;
    let dials = node.fake.state(|state| state.dials);
    node.fake.reexecute().await;
    assert_eq!(next(&mut changes).await, "everything");
    node.fake.change("a.service", "failed", "failed").await;
    assert_eq!(next(&mut changes).await, "a.service failed");
    assert_eq!(node.fake.state(|state| state.dials), dials);
}

#[tokio::test(start_paused = true)]
async fn after_a_reload_everything_may_be_different() {
    for forgetful in [false, true] {
        let node = Node::new();
        node.put("a.service", "active");
        let mut changes = reading(&node).await;
        node.fake.state(|state| state.forgetful = forgetful);
        node.units.reload().await.unwrap();
        assert_eq!(next(&mut changes).await, "everything");
        node.fake.change("a.service", "failed", "failed").await;
        assert_eq!(next(&mut changes).await, "a.service failed");
        assert!(is_quiet(&mut changes).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_was_loaded_anew_is_told_anew() {
    let node = Node::new();
    node.put("a.service", "active");
    let mut changes = reading(&node).await;
    node.fake.change("a.service", "active", "exited").await;
    assert_eq!(next(&mut changes).await, "a.service active");
    node.units.unload(&name("a.service")).await.unwrap();
    assert!(is_quiet(&mut changes).await);
    node.put("a.service", "active");
    node.fake.change("a.service", "active", "exited").await;
    assert_eq!(next(&mut changes).await, "a.service active");
}

#[tokio::test(start_paused = true)]
async fn the_remains_of_a_unit_that_leaves_are_not_told() {
    for refused in [false, true] {
        let node = Node::new();
        node.put("a.service", "active");
        node.put("b.service", "active");
        let mut changes = reading(&node).await;
        // The first waits for the second, without its links.
        node.fake.state(|state| {
            state.hold = Some(("ResetFailedUnit", 2));
            if refused {
                let words = ("org.freedesktop.DBus.Error.AccessDenied", "Permission denied");
                state.refusals.insert("ResetFailedUnit a.service".into(), words);
            }
        });
        let units = node.units.clone();
        let unloading = tokio::spawn(async move { units.unload(&name("a.service")).await });
        node.fake.until_called("ResetFailedUnit a.service", 1).await;
        node.fake.signal(&changed(":1.1", "a.service", "inactive", "dead")).await;
        tokio::time::sleep(SECOND).await;
        node.units.unload(&name("b.service")).await.unwrap();
        assert_eq!(unloading.await.unwrap().is_err(), refused);
        if refused {
            // It is still here, and has no links.
            let change = tokio::time::timeout(60 * SECOND, changes.recv()).await.unwrap().unwrap();
            let Change::State(unit, state) = change else { panic!("{change:?}") };
            assert_eq!((unit.as_str(), state.load.as_str()), ("a.service", "not-found"));
        }
        assert!(is_quiet(&mut changes).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_left_while_systemd_answered_is_not_told() {
    let node = Node::new();
    node.put("a.service", "active");
    let mut changes = reading(&node).await;
    node.fake.state(|state| state.hold = Some(("ListUnitsByNames", 2)));
    node.fake.change("a.service", "failed", "failed").await;
    node.fake.until_called("ListUnitsByNames a.service", 1).await;
    std::fs::remove_file(node.folder.join("a.service")).unwrap();
    node.units.states(&[name("b.service")]).await.unwrap();
    assert!(is_quiet(&mut changes).await);
}

#[tokio::test(start_paused = true)]
async fn all_readers_are_told() {
    let node = Node::new();
    node.put("a.service", "active");
    let mut readers = [reading(&node).await, reading(&node).await];
    node.fake.change("a.service", "failed", "failed").await;
    for reader in &mut readers {
        assert_eq!(next(reader).await, "a.service failed");
    }
    let [mut kept, dropped] = readers;
    drop(dropped);
    node.fake.change("a.service", "active", "running").await;
    assert_eq!(next(&mut kept).await, "a.service active");
}

#[tokio::test]
async fn nothing_is_left_when_nobody_is() {
    let node = Node::new();
    node.put("a.service", "active");
    node.fake.state(|state| state.stops.insert("a.service".into(), Stop::Held));
    let changes = reading(&node).await;
    let stopping = {
        let units = node.units.clone();
        tokio::spawn(async move { units.stop(&name("a.service")).await })
    };
    node.fake.until_called("StopUnit", 1).await;
    stopping.abort();
    stopping.await.unwrap_err();
    drop(changes);
    let Node { fake, units, .. } = node;
    let last: Units = units;
    drop(last);
    let connections =
        |state: &super::fake::State| if state.ended == 1 { Ok(()) } else { Err(state.peers.len()) };
    fake.until(connections).await;
}
