//! The suite's `test_keys.py`.

use std::rc::Rc;

use serde_json::{Value, json};
use tuf::Signer as _;

use crate::simulator::*;

#[test]
fn snapshot_does_not_meet_threshold() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    let keys = repository.new_keys(3);
    repository.set_keys(SNAPSHOT, keys, 3);
    repository.publish(&ALL);
    machine.refresh(&mut repository).unwrap();
    repository.signers.get_mut(SNAPSHOT).unwrap().pop();
    repository.publish(&UPDATE);
    refused(machine.refresh(&mut repository), "3.snapshot.json: signed by 2 of 3 keys of role snapshot");
    assert_eq!(machine.version(SNAPSHOT), Some(2));
}

#[test]
fn snapshot_has_too_few_keys() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    let keys = repository.new_keys(5);
    repository.set_keys(SNAPSHOT, keys, 6);
    repository.publish(&[ROOT, SNAPSHOT, TIMESTAMP]);
    refused(machine.refresh(&mut repository), "2.snapshot.json: signed by 5 of 6 keys");
    assert_eq!(machine.versions(), [2, 2, 0, 0]);
}

#[test]
fn duplicate_keys() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    let key = repository.new_key();
    repository.set_keys(SNAPSHOT, vec![Rc::clone(&key)], 6);
    let id = key.key().id();
    repository.root.roles.snapshot.keyids.extend(vec![id; 8]);
    repository.publish(&[ROOT, SNAPSHOT, TIMESTAMP]);
    repository.edit(SNAPSHOT, |snapshot| {
        let signature = snapshot["signatures"][0].clone();
        snapshot["signatures"].as_array_mut().unwrap().extend(vec![signature; 8]);
    });
    refused(machine.refresh(&mut repository), "2.root.json: roles: snapshot: keyids: ");
    assert_eq!(machine.version(SNAPSHOT), None);
}

/// The same as above, with a new id for each copy of the key: a field that the specification does not define.
#[test]
fn duplicate_keys_under_other_ids() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    let signer = repository.new_key();
    repository.set_keys(SNAPSHOT, vec![Rc::clone(&signer)], 3);
    for number in 0..2 {
        let mut copy = signer.key().clone();
        copy.extra.insert("copy".to_owned(), number.into());
        repository.root.roles.snapshot.keyids.push(copy.id());
        repository.root.keys.insert(copy.id(), copy);
    }
    let ids = repository.root.roles.snapshot.keyids.clone();
    repository.publish(&[ROOT, SNAPSHOT, TIMESTAMP]);
    repository.edit(SNAPSHOT, |snapshot| {
        let sig = snapshot["signatures"][0]["sig"].clone();
        snapshot["signatures"] = ids.iter().map(|id| json!({"keyid": id, "sig": sig})).collect();
    });
    refused(machine.refresh(&mut repository), "2.snapshot.json: signed by 1 of 3 keys");
}

#[test]
fn duplicate_sig_keyids() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.edit(SNAPSHOT, |snapshot| {
        let signature = snapshot["signatures"][0].clone();
        snapshot["signatures"].as_array_mut().unwrap().push(signature);
    });
    refused(machine.refresh(&mut repository), "1.snapshot.json: signatures: two of key ");
    assert_eq!(machine.version(SNAPSHOT), None);
}

#[test]
fn keytype_and_scheme_ed25519() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.add_key(ROOT, 2);
    repository.publish(&[ROOT]);
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.version(ROOT), Some(2));
    repository.publish(&[ROOT]);
    repository.edit(ROOT, |root| root["signatures"][1]["sig"] = "b6".repeat(64).into());
    refused(machine.refresh(&mut repository), "3.root.json: signed by 1 of 2 keys of role root");
    assert_eq!(machine.version(ROOT), Some(2));
}

/// A chain of roots that python-tuf signed; the second one demands a signature of each key type.
fn keytype_and_scheme(kind: &str) {
    let read = |version: u64| {
        let path = format!("{}/tests/data/keys/{kind}.{version}.root.json", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    };
    let mut repository = Simulator::new();
    let mut machine = Machine::with_root(&read(1));
    repository.published.insert(ROOT.to_owned(), vec![read(1), read(2)]);
    // Other roles are not signed by its keys: only root is updated.
    refused(machine.refresh(&mut repository), "timestamp.json: signed by 0 of 1 keys");
    assert_eq!(machine.version(ROOT), Some(2));
    let mut bad: Value = serde_json::from_slice(&read(2)).unwrap();
    let id = bad["signed"]["keys"]
        .as_object()
        .unwrap()
        .iter()
        .find(|(_, key)| key["keytype"] == kind)
        .unwrap()
        .0
        .clone();
    let signatures = bad["signatures"].as_array_mut().unwrap();
    let signature = signatures.iter_mut().find(|signature| signature["keyid"] == id).unwrap();
    let text = signature["sig"].as_str().unwrap();
    // Another digit in the middle.
    let at = text.len() / 2;
    let digit = if &text[at..=at] == "0" { "1" } else { "0" };
    signature["sig"] = format!("{}{digit}{}", &text[..at], &text[at + 1..]).into();
    let mut machine = Machine::with_root(&read(1));
    repository.published.insert(ROOT.to_owned(), vec![read(1), serde_json::to_vec(&bad).unwrap()]);
    refused(machine.refresh(&mut repository), "2.root.json: signed by 1 of 2 keys of role root");
    assert_eq!(machine.version(ROOT), Some(1));
}

#[test]
fn keytype_and_scheme_rsa() {
    keytype_and_scheme("rsa");
}

#[test]
fn keytype_and_scheme_ecdsa() {
    keytype_and_scheme("ecdsa");
}

#[test]
fn invalid_sig_in_valid_metadata() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    let wrong = "ab".repeat(64);
    repository.add_key(TIMESTAMP, 1);
    repository.publish(&[ROOT, TIMESTAMP]);
    repository.edit(TIMESTAMP, |timestamp| timestamp["signatures"][0]["sig"] = wrong.into());
    machine.refresh(&mut repository).unwrap();
    repository.publish(&[TIMESTAMP]);
    repository.edit(TIMESTAMP, |timestamp| timestamp["signatures"][0]["sig"] = "".into());
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.version(TIMESTAMP), Some(3));
}

#[test]
fn a_key_under_an_id_that_is_not_its_own_is_refused() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    let key = repository.new_key().key().clone();
    let id = repository.root.roles.targets.keyids[0].clone();
    repository.root.keys.insert(id.clone(), key);
    repository.publish(&[ROOT]);
    refused(machine.refresh(&mut repository), &format!("2.root.json: keys: {id} is not the id of its key"));
}
