//! The suite's `test_basic.py`.

use serde_json::json;

use crate::simulator::*;

const FIRST: [&str; 4] = ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"];

#[test]
fn basic_refresh_requests() {
    let mut repository = Simulator::new();
    Machine::new(&repository).refresh(&mut repository).unwrap();
    assert_eq!(repository.requests, FIRST);
}

#[test]
fn basic_refresh_trusted_data() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    machine.refresh(&mut repository).unwrap();
    for role in TOP {
        assert_eq!(machine.store.0[role], *repository.latest(role));
    }
}

#[test]
fn implicit_refresh() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    refused(machine.download(&mut repository, "nonexistent artifact"), "does not have it");
    assert_eq!(repository.requests, FIRST);
    assert_eq!(machine.versions(), [1, 1, 1, 1]);
}

#[test]
fn invalid_initial_root() {
    let mut repository = Simulator::new();
    repository.edit(ROOT, |root| drop(root["signed"].as_object_mut().unwrap().remove("version")));
    let mut machine = Machine::new(&repository);
    refused(machine.refresh(&mut repository), "cannot accept trusted root: line 1, column ");
    assert!(repository.requests.is_empty());
}

#[test]
fn unsigned_initial_root() {
    let mut repository = Simulator::new();
    repository.edit(ROOT, |root| root["signatures"][0]["sig"] = "30450221".into());
    let mut machine = Machine::new(&repository);
    refused(machine.refresh(&mut repository), "trusted root: signed by 0 of 1 keys of role root");
    assert!(repository.requests.is_empty());
}

fn unsigned_metadata(role: &str, trusted: [u64; 4]) {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.signers.get_mut(role).unwrap().pop();
    repository.publish(&ALL);
    refused(machine.refresh(&mut repository), &format!("signed by 0 of 1 keys of role {role}"));
    assert_eq!(machine.versions(), trusted);
}

#[test]
fn unsigned_metadata_root() {
    unsigned_metadata(ROOT, [1, 0, 0, 0]);
}

#[test]
fn unsigned_metadata_timestamp() {
    unsigned_metadata(TIMESTAMP, [2, 0, 0, 0]);
}

#[test]
fn unsigned_metadata_snapshot() {
    unsigned_metadata(SNAPSHOT, [2, 2, 0, 0]);
}

#[test]
fn unsigned_metadata_targets() {
    unsigned_metadata(TARGETS, [2, 2, 2, 0]);
}

fn url_and_metadata_version_mismatch(role: &str, trusted: [u64; 4]) {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    // The second file has version 3.
    repository.set_version(role, 2);
    repository.publish(&ALL);
    // What lists it names the second, as its file does.
    let again: &[&str] = match role {
        SNAPSHOT => {
            repository.timestamp.meta.get_mut("snapshot.json").unwrap().version = number(2);
            &[TIMESTAMP]
        }
        TARGETS => {
            repository.snapshot.meta.get_mut("targets.json").unwrap().version = number(2);
            &[SNAPSHOT, TIMESTAMP]
        }
        _ => &[],
    };
    repository.publish(again);
    refused(machine.refresh(&mut repository), "version 3, expected 2");
    assert_eq!(machine.versions(), trusted);
}

#[test]
fn url_and_metadata_version_mismatch_root() {
    url_and_metadata_version_mismatch(ROOT, [1, 0, 0, 0]);
}

#[test]
fn url_and_metadata_version_mismatch_snapshot() {
    url_and_metadata_version_mismatch(SNAPSHOT, [2, 3, 0, 0]);
}

#[test]
fn url_and_metadata_version_mismatch_targets() {
    url_and_metadata_version_mismatch(TARGETS, [2, 3, 3, 0]);
}

#[test]
fn timestamp_content_changes() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    machine.refresh(&mut repository).unwrap();
    let first = machine.store.0[TIMESTAMP].clone();
    repository.timestamp.meta.get_mut("snapshot.json").unwrap().version = number(100);
    repository.withdraw(TIMESTAMP);
    repository.publish(&[TIMESTAMP]);
    machine.refresh(&mut repository).unwrap();
    assert_eq!(repository.requests.last().unwrap(), "timestamp.json");
    assert_eq!(machine.store.0[TIMESTAMP], first);
}

#[test]
fn basic_metadata_hash_support() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.lists_hashes = true;
    repository.publish(&UPDATE);
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.versions(), [1, 2, 2, 2]);
}

fn wrong_hash(meta: &mut tuf::MetaFile) {
    meta.hashes.as_mut().unwrap().0.insert("sha256".to_owned(), "0".repeat(64));
}

#[test]
fn targets_hash_mismatch() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.lists_hashes = true;
    repository.publish(&UPDATE);
    machine.refresh(&mut repository).unwrap();
    repository.publish(&[TARGETS]);
    wrong_hash(repository.snapshot.meta.get_mut("targets.json").unwrap());
    repository.publish(&[SNAPSHOT, TIMESTAMP]);
    refused(machine.refresh(&mut repository), "3.targets.json: another sha256 digest");
    assert_eq!(machine.versions(), [1, 3, 3, 2]);
}

#[test]
fn snapshot_hash_mismatch() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.lists_hashes = true;
    repository.publish(&[SNAPSHOT, TIMESTAMP]);
    machine.refresh(&mut repository).unwrap();
    repository.publish(&[SNAPSHOT]);
    wrong_hash(repository.timestamp.meta.get_mut("snapshot.json").unwrap());
    repository.publish(&[TIMESTAMP]);
    refused(machine.refresh(&mut repository), "3.snapshot.json: another sha256 digest");
    assert_eq!(machine.versions(), [1, 3, 2, 1]);
}

#[test]
fn metadata_bytes_match() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.latest(TIMESTAMP).push(b' ');
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.store.0[TIMESTAMP], *repository.latest(TIMESTAMP));
}

#[test]
fn custom_fields() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    machine.refresh(&mut repository).unwrap();
    repository.root.extra.insert("custom-field".to_owned(), "value".into());
    repository.root.roles.root.extra.insert("another-field".to_owned(), "value".into());
    let id = repository.root.roles.targets.keyids[0].clone();
    let mut key = repository.root.keys[&id].clone();
    key.extra.insert("extra-field".to_owned(), json!({"a": 1, "b": 2}));
    repository.root.roles.root.keyids.push(key.id());
    repository.root.keys.insert(key.id(), key);
    repository.publish(&[ROOT]);
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.version(ROOT), Some(2));
    // They are signed: without one, nothing is.
    repository.publish(&[ROOT]);
    repository.edit(ROOT, |root| drop(root["signed"].as_object_mut().unwrap().remove("custom-field")));
    refused(machine.refresh(&mut repository), "signed by 0 of 1 keys");
}

#[test]
fn deprecated_keyid_hash_algorithms() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.rotate_key(SNAPSHOT);
    let id = repository.root.roles.snapshot.keyids[0].clone();
    // The id covers the field or not.
    repository.root.keys.get_mut(&id).unwrap().extra.insert("keyid_hash_algorithms".to_owned(), "md5".into());
    repository.publish(&[ROOT, SNAPSHOT, TIMESTAMP]);
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.versions(), [2, 2, 2, 1]);
}

#[test]
fn snapshot_404() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    machine.refresh(&mut repository).unwrap();
    repository.timestamp.meta.get_mut("snapshot.json").unwrap().version = number(2);
    repository.publish(&[TIMESTAMP]);
    refused(machine.refresh(&mut repository), "2.snapshot.json: the repository does not have it");
    assert_eq!(machine.versions(), [1, 2, 1, 1]);
}

#[test]
fn targets_404() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    machine.refresh(&mut repository).unwrap();
    repository.snapshot.meta.get_mut("targets.json").unwrap().version = number(2);
    repository.publish(&[SNAPSHOT, TIMESTAMP]);
    refused(machine.refresh(&mut repository), "2.targets.json: the repository does not have it");
    assert_eq!(machine.versions(), [1, 2, 2, 1]);
}

#[test]
fn timestamp_404() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    machine.refresh(&mut repository).unwrap();
    repository.withdraw(TIMESTAMP);
    refused(machine.refresh(&mut repository), "timestamp.json: the repository does not have it");
    assert_eq!(repository.requests.last().unwrap(), "timestamp.json");
}

#[test]
fn incorrect_metadata_type() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    // A snapshot that is also valid as a timestamp, but for its type.
    let mut keys = repository.signers[SNAPSHOT].clone();
    keys.extend(repository.signers[TIMESTAMP].clone());
    repository.set_keys(SNAPSHOT, keys, 1);
    repository.snapshot.meta = [("snapshot.json".to_owned(), tuf::MetaFile::version(number(1)))].into();
    repository.publish(&[ROOT, SNAPSHOT]);
    let snapshot = repository.published.get_mut(SNAPSHOT).unwrap().pop().unwrap();
    repository.published.get_mut(TIMESTAMP).unwrap().push(snapshot);
    refused(machine.refresh(&mut repository), "timestamp.json: _type `snapshot`, expected `timestamp`");
    assert_eq!(machine.versions(), [2, 0, 0, 0]);
}

/// The suite sets the client's clock; here time is an argument.
#[test]
fn faketime() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.root.header.expires = date(NOW + 7 * DAY);
    repository.publish(&[ROOT]);
    machine.refresh(&mut repository).unwrap();
    machine.now += 8 * DAY;
    refused(machine.refresh(&mut repository), "trusted root: expired at 2027-01-22T08:00:00Z");
}

#[test]
fn metadata_of_another_major_version_is_refused() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    for good in ["1.0", "1.0.0", "1.99.0"] {
        repository.timestamp.header.spec_version = good.to_owned();
        repository.publish(&[TIMESTAMP]);
        machine.refresh(&mut repository).unwrap();
    }
    for bad in ["2.0.0", "10.0.0", "", "1"] {
        repository.timestamp.header.spec_version = bad.to_owned();
        repository.publish(&[TIMESTAMP]);
        refused(
            machine.refresh(&mut repository),
            &format!("spec_version `{bad}`, supported are versions 1.x"),
        );
    }
}
