//! The suite's `test_expiration.py`.

use crate::simulator::*;

fn refreshed() -> (Simulator, Machine) {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    machine.refresh(&mut repository).unwrap();
    (repository, machine)
}

#[test]
fn root_expired() {
    let (mut repository, mut machine) = refreshed();
    repository.publish(&[ROOT]);
    machine.refresh(&mut repository).unwrap();
    repository.root.header.expires = date(NOW - DAY);
    repository.publish(&ALL);
    refused(machine.refresh(&mut repository), "3.root.json: expired at");
    // 5.3.10: after it is stored.
    assert_eq!(machine.versions(), [3, 1, 1, 1]);
}

#[test]
fn timestamp_expired() {
    let (mut repository, mut machine) = refreshed();
    repository.timestamp.header.expires = date(NOW - 5 * DAY);
    repository.publish(&[TIMESTAMP]);
    refused(machine.refresh(&mut repository), "timestamp.json: expired at");
    assert_eq!(machine.versions(), [1, 1, 1, 1]);
}

#[test]
fn snapshot_expired() {
    let (mut repository, mut machine) = refreshed();
    repository.snapshot.header.expires = date(NOW - 5 * DAY);
    repository.publish(&[SNAPSHOT, TIMESTAMP]);
    refused(machine.refresh(&mut repository), "2.snapshot.json: expired at");
    assert_eq!(machine.versions(), [1, 2, 1, 1]);
}

#[test]
fn targets_expired() {
    let (mut repository, mut machine) = refreshed();
    repository.top_targets().header.expires = date(NOW - 5 * DAY);
    repository.publish(&UPDATE);
    refused(machine.refresh(&mut repository), "2.targets.json: expired at");
    assert_eq!(machine.versions(), [1, 2, 2, 1]);
}

#[test]
fn expired_local_root() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.root.header.expires = date(NOW + 7 * DAY);
    repository.publish(&[ROOT]);
    machine.refresh(&mut repository).unwrap();
    repository.root.header.expires = date(NOW + 21 * DAY);
    repository.publish(&[ROOT]);
    machine.now += 18 * DAY;
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.version(ROOT), Some(3));
}

#[test]
fn expired_local_timestamp() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.timestamp.header.expires = date(NOW + 7 * DAY);
    repository.publish(&[TIMESTAMP]);
    machine.refresh(&mut repository).unwrap();
    repository.timestamp.header.expires = date(NOW + 21 * DAY);
    repository.publish(&UPDATE);
    machine.now += 18 * DAY;
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.versions(), [1, 3, 2, 2]);
}

/// A file expires at its date, not after it.
#[test]
fn the_second_of_the_expiry_is_too_late() {
    let (mut repository, mut machine) = refreshed();
    machine.now = NOW + 30 * DAY - 1;
    machine.refresh(&mut repository).unwrap();
    machine.now += 1;
    refused(machine.refresh(&mut repository), "expired at");
}
