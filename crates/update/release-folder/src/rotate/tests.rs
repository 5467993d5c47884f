//! Rotations in one folder, and with root keys in three places.

use release::{Keys, files};
use tempfile::TempDir;

use super::*;
use crate::key_sets::{copy_sets, create_first_set, load_sets, merge_signatures, sign_set, status};
use crate::keys::generate_keys;

fn new_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    generate_keys(folder.path(), "own").unwrap();
    let first = create_first_set(folder.path(), 100, 1000).unwrap();
    assert!(first.is_complete());
    assert_eq!(names(&first.own), ["root-1", "root-2", "root-3"]);
    folder
}

fn names(signers: &[FileName]) -> Vec<&str> {
    signers.iter().map(FileName::as_str).collect()
}

fn replace(role: Role, file: &str) -> Change {
    Change { replace: vec![Replace { role, file: file.into() }], ..Change::default() }
}

/// Whether signatures of the folder's secret key verify with the set's keys.
fn is_valid(folder: &Path, file: &str, keys: &Keys) -> bool {
    let secret = SigningKey::read(&folder.join(file)).unwrap();
    keys.verify(b"text", &secret.sign(b"text", "about").unwrap()).is_ok()
}

#[test]
fn a_replaced_key_is_revoked_and_the_new_one_takes_its_place() {
    let folder = new_folder();
    let at = folder.path();
    let next = rotate(at, &replace(Role::Release, "release"), 200, 2000).unwrap();
    assert!(next.is_complete(), "{:?}", next.missing());
    assert_eq!((next.set.epoch, next.set.release[0].name.as_str()), (2, "own.e2"));
    let keys = next.set.keys(Role::Release);
    assert!(is_valid(at, "release.key", &keys) && !is_valid(at, "release.revoked-in-2.key", &keys));
    // A second rotation, and the chain from the first set to the last.
    let last = rotate(at, &replace(Role::Release, "release"), 300, 3000).unwrap();
    assert_eq!(last.set.release[0].name.as_str(), "own.e3");
    assert!(!is_valid(at, "release.revoked-in-3.key", &last.set.keys(Role::Release)));
    assert_eq!(load_sets(at).unwrap().iter().map(|step| step.epoch).collect::<Vec<_>>(), [1, 2, 3]);
    let to = tempfile::tempdir().unwrap();
    assert_eq!(copy_sets(at, to.path()).unwrap().len(), 6);
    assert_eq!(load_sets(to.path()).unwrap(), load_sets(at).unwrap());
}

#[test]
fn signatures_from_several_folders_are_merged() {
    let folder = new_folder();
    let at = folder.path();
    let elsewhere = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (number, folder) in [(2, &elsewhere[0]), (3, &elsewhere[1])] {
        let file = format!("root-{number}.key");
        fs::rename(at.join(&file), folder.path().join(&file)).unwrap();
    }
    let next = rotate(at, &replace(Role::Channel, "channel"), 200, 2000).unwrap();
    let wants = "1 of root-2, root-3 (root keys of set 1) must sign";
    assert_eq!(next.missing()[0], wants);
    // An incomplete set is neither the base of another one nor published.
    let error = rotate(at, &Change::default(), 300, 3000).unwrap_err().to_string();
    assert!(error.starts_with("set 2 is not fully signed: 1 of root-2, root-3"), "{error}");
    assert_eq!(copy_sets(at, elsewhere[0].path()).unwrap(), ["keys.1.json", "keys.1.json.sig"]);
    // The set is signed elsewhere, and the signature is merged.
    let other = elsewhere[0].path();
    let path = at.join(files::keys(2));
    fs::copy(&path, other.join(files::keys(2))).unwrap();
    let signed = sign_set(&other.join(files::keys(2)), &other.join("root-2.key")).unwrap();
    assert_eq!(names(&signed.own), ["root-2"]);
    assert!(!signed.is_complete());
    let text = other.join(files::keys_signatures(2));
    let once = merge_signatures(&path, std::slice::from_ref(&text)).unwrap();
    assert!(once.is_complete());
    assert_eq!(names(&once.previous.clone().unwrap().1), ["root-1", "root-2"]);
    assert_eq!(merge_signatures(&path, &[text.clone(), text]).unwrap(), once);
    assert_eq!(sign_set(&path, &other.join("root-2.key")).unwrap(), once);
    let length = fs::read_to_string(at.join(files::keys_signatures(2))).unwrap().lines().count();
    assert_eq!(length, 8);
}

#[test]
fn unknown_keys_and_other_texts_are_rejected() {
    let folder = new_folder();
    let at = folder.path();
    rotate(at, &Change::default(), 200, 2000).unwrap();
    let path = at.join(files::keys(2));
    let error = sign_set(&path, &at.join("release.key")).unwrap_err().to_string();
    assert!(error.ends_with("release.key is neither a root key of set 2 nor of the previous set"), "{error}");
    let of_the_first = at.join(files::keys_signatures(1));
    let before = status(&path).unwrap();
    assert!(matches!(merge_signatures(&path, &[of_the_first]), Err(KeySetError::Signature { .. })));
    fs::write(at.join("x.sig"), "nonsense").unwrap();
    assert!(matches!(merge_signatures(&path, &[at.join("x.sig")]), Err(KeySetError::Signature { .. })));
    assert_eq!(status(&path).unwrap(), before);
    fs::remove_file(at.join(files::keys(1))).unwrap();
    assert!(matches!(status(&path), Err(KeySetError::NoPrevious(_))));
}

#[test]
fn a_lost_root_key_is_replaced_with_the_other_two() {
    let folder = new_folder();
    let at = folder.path();
    fs::remove_file(at.join("root-2.key")).unwrap();
    let next = rotate(at, &replace(Role::Root, "root-2"), 200, 2000).unwrap();
    assert!(next.is_complete(), "{:?}", next.missing());
    assert_eq!(names(&next.own), ["root-1", "root-2.e2", "root-3"]);
    assert_eq!(names(&next.previous.unwrap().1), ["root-1", "root-3"]);
    // The new root key can sign.
    fs::remove_file(at.join("root-1.key")).unwrap();
    let last = rotate(at, &Change::default(), 300, 3000).unwrap();
    assert!(last.is_complete());
    assert_eq!(names(&last.own), ["root-2.e2", "root-3"]);
}

#[test]
fn keys_are_added_and_revoked_and_invalid_changes_have_no_effect() {
    let folder = new_folder();
    let at = folder.path();
    let second = tempfile::tempdir().unwrap();
    generate_keys(second.path(), "second").unwrap();
    let add = vec![(Role::Release, second.path().join("release/second.pub"))];
    let next = rotate(at, &Change { add: add.clone(), ..Change::default() }, 200, 2000).unwrap();
    assert!(is_valid(second.path(), "release.key", &next.set.keys(Role::Release)));
    assert!(is_valid(at, "release.key", &next.set.keys(Role::Release)));
    let revoke = |name: &str| Change { revoke: vec![(Role::Release, name.into())], ..Change::default() };
    let last = rotate(at, &revoke("own"), 300, 3000).unwrap();
    assert!(!is_valid(at, "release.key", &last.set.keys(Role::Release)));
    let fails = |change: &Change, expect: &str| {
        let error = rotate(at, change, 400, 4000).unwrap_err();
        assert!(causes(&error).contains(expect), "{error}");
    };
    fails(&revoke("own"), "no release key `own` in set 3");
    fails(&revoke("second"), "release: must have 1 to 16 keys");
    fails(&Change { add, ..Change::default() }, "are the same key");
    fails(&Change { threshold: Some(1), ..replace(Role::Root, "root-1") }, "threshold: must be at least 2");
    fails(&replace(Role::Release, "release"), "no release key `release` in set 3");
    assert!(!at.join(files::keys(4)).exists() && !at.join("root-1.e4.key").exists());
    assert!(matches!(create_first_set(at, 1, 2), Err(KeySetError::Exists(_))));
}

fn causes(error: &dyn std::error::Error) -> String {
    error.source().map_or(error.to_string(), |source| format!("{error}: {}", causes(source)))
}
