//! The suite's `test_rollback.py`.

use crate::simulator::*;

#[test]
fn new_timestamp_version_rollback() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.publish(&[TIMESTAMP]);
    machine.refresh(&mut repository).unwrap();
    repository.withdraw(TIMESTAMP);
    repository.set_version(TIMESTAMP, 1);
    repository.publish(&[TIMESTAMP]);
    refused(machine.refresh(&mut repository), "timestamp.json: rollback: version 1, 2 is trusted");
    assert_eq!(machine.version(TIMESTAMP), Some(2));
    assert_eq!(repository.requests.last().unwrap(), "timestamp.json");
}

fn snapshot_rollback(hashes: bool) {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.lists_hashes = hashes;
    repository.publish(&[SNAPSHOT, TIMESTAMP]);
    machine.refresh(&mut repository).unwrap();
    repository.withdraw(SNAPSHOT);
    repository.set_version(SNAPSHOT, 1);
    repository.publish(&[SNAPSHOT, TIMESTAMP]);
    refused(machine.refresh(&mut repository), "rollback: it lists version 1 of snapshot.json, 2 is trusted");
    assert_eq!(machine.versions(), [1, 2, 2, 1]);
    assert_eq!(repository.requests.last().unwrap(), "timestamp.json");
}

#[test]
fn snapshot_rollback_basic() {
    snapshot_rollback(false);
}

#[test]
fn snapshot_rollback_with_hashes() {
    snapshot_rollback(true);
}

#[test]
fn targets_role_removal() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.delegate(TARGETS, "delegated", false, patterns(&["delegatedpath/*"]));
    repository.publish(&["delegated", TARGETS, SNAPSHOT, TIMESTAMP]);
    machine.refresh(&mut repository).unwrap();
    repository.snapshot.meta.remove("delegated.json");
    repository.publish(&[SNAPSHOT, TIMESTAMP]);
    refused(machine.refresh(&mut repository), "3.snapshot.json: it no longer lists delegated.json");
    assert_eq!(machine.version(SNAPSHOT), Some(2));
}

#[test]
fn targets_fast_forward_recovery() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.delegate(TARGETS, "delegated", false, patterns(&["delegatedpath/*"]));
    repository.publish(&["delegated"]);
    (0..99).for_each(|_| repository.publish(&[TARGETS]));
    repository.publish(&[SNAPSHOT, TIMESTAMP]);
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.version(TARGETS), Some(100));
    repository.rotate_key(SNAPSHOT);
    repository.withdraw(TARGETS);
    repository.set_version(TARGETS, 1);
    repository.snapshot.meta.remove("delegated.json");
    repository.publish(&ALL);
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.version(TARGETS), Some(1));
}

#[test]
fn new_snapshot_fast_forward_recovery() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    (0..99).for_each(|_| repository.publish(&[SNAPSHOT]));
    repository.publish(&[TIMESTAMP]);
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.version(SNAPSHOT), Some(100));
    repository.rotate_key(SNAPSHOT);
    repository.rotate_key(TIMESTAMP);
    repository.withdraw(SNAPSHOT);
    repository.set_version(SNAPSHOT, 1);
    repository.publish(&ALL);
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.version(SNAPSHOT), Some(1));
}

#[test]
fn new_timestamp_fast_forward_recovery() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    (0..99).for_each(|_| repository.publish(&[TIMESTAMP]));
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.version(TIMESTAMP), Some(100));
    repository.rotate_key(TIMESTAMP);
    repository.withdraw(TIMESTAMP);
    repository.set_version(TIMESTAMP, 1);
    repository.publish(&[ROOT, TIMESTAMP]);
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.version(TIMESTAMP), Some(1));
}

fn targets_rollback(hashes: bool) {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.lists_hashes = hashes;
    repository.publish(&UPDATE);
    machine.refresh(&mut repository).unwrap();
    repository.withdraw(TARGETS);
    repository.set_version(TARGETS, 1);
    repository.publish(&UPDATE);
    refused(machine.refresh(&mut repository), "rollback: it lists version 1 of targets.json, 2 is trusted");
    assert_eq!(machine.versions(), [1, 3, 2, 2]);
}

#[test]
fn targets_rollback_basic() {
    targets_rollback(false);
}

#[test]
fn targets_rollback_with_hashes() {
    targets_rollback(true);
}
