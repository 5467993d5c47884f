//! Rotations as people do them: in one folder, and with root keys in three places.

use release::{Keys, files};
use tempfile::TempDir;

use super::*;
use crate::key_sets::{begin, collect, copy, sets, sign, standing};
use crate::keys::make_keys;

fn begun() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    make_keys(folder.path(), "own").unwrap();
    let first = begin(folder.path(), 100, 1000).unwrap();
    assert!(first.is_complete());
    assert_eq!(names(&first.own), ["root-1", "root-2", "root-3"]);
    folder
}

fn names(of: &[FileName]) -> Vec<&str> {
    of.iter().map(FileName::as_str).collect()
}

fn replace(role: Role, file: &str) -> Change {
    Change { replace: vec![Replace { role, file: file.into() }], ..Change::default() }
}

/// Whether what the folder's secret key signs holds by the keys of the set.
fn holds(folder: &Path, file: &str, keys: &Keys) -> bool {
    let secret = Secret::read(&folder.join(file)).unwrap();
    keys.verify(b"text", &secret.sign(b"text", "about").unwrap()).is_ok()
}

#[test]
fn a_replaced_key_signs_no_more_and_the_new_one_has_its_place() {
    let folder = begun();
    let at = folder.path();
    let next = rotate(at, &replace(Role::Release, "release"), 200, 2000).unwrap();
    assert!(next.is_complete(), "{:?}", next.missing());
    assert_eq!((next.set.epoch, next.set.release[0].name.as_str()), (2, "own.e2"));
    let keys = next.set.keys(Role::Release);
    assert!(holds(at, "release.key", &keys) && !holds(at, "release.revoked-in-2.key", &keys));
    // Once more, and the machines' way from the first to the last.
    let last = rotate(at, &replace(Role::Release, "release"), 300, 3000).unwrap();
    assert_eq!(last.set.release[0].name.as_str(), "own.e3");
    assert!(!holds(at, "release.revoked-in-3.key", &last.set.keys(Role::Release)));
    assert_eq!(sets(at).unwrap().iter().map(|step| step.epoch).collect::<Vec<_>>(), [1, 2, 3]);
    let to = tempfile::tempdir().unwrap();
    assert_eq!(copy(at, to.path()).unwrap().len(), 6);
    assert_eq!(sets(to.path()).unwrap(), sets(at).unwrap());
}

#[test]
fn signatures_are_collected_from_where_the_root_keys_are() {
    let folder = begun();
    let at = folder.path();
    let elsewhere = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (number, place) in [(2, &elsewhere[0]), (3, &elsewhere[1])] {
        let file = format!("root-{number}.key");
        fs::rename(at.join(&file), place.path().join(&file)).unwrap();
    }
    let next = rotate(at, &replace(Role::Channel, "channel"), 200, 2000).unwrap();
    let wants = "1 of root-2, root-3 (root keys of set 1) have to sign";
    assert_eq!(next.missing()[0], wants);
    // Nothing goes on from an unfinished set, and nothing is published of it.
    let error = rotate(at, &Change::default(), 300, 3000).unwrap_err().to_string();
    assert!(error.starts_with("set 2 is not signed yet: 1 of root-2, root-3"), "{error}");
    assert_eq!(copy(at, elsewhere[0].path()).unwrap(), ["keys.1.json", "keys.1.json.sig"]);
    // The set goes to somebody else, and their signature comes back.
    let other = elsewhere[0].path();
    let path = at.join(files::keys(2));
    fs::copy(&path, other.join(files::keys(2))).unwrap();
    let signed = sign(&other.join(files::keys(2)), &other.join("root-2.key")).unwrap();
    assert_eq!(names(&signed.own), ["root-2"]);
    assert!(!signed.is_complete());
    let text = other.join(files::keys_signatures(2));
    let once = collect(&path, std::slice::from_ref(&text)).unwrap();
    assert!(once.is_complete());
    assert_eq!(names(&once.previous.clone().unwrap().1), ["root-1", "root-2"]);
    assert_eq!(collect(&path, &[text.clone(), text]).unwrap(), once);
    assert_eq!(sign(&path, &other.join("root-2.key")).unwrap(), once);
    let length = fs::read_to_string(at.join(files::keys_signatures(2))).unwrap().lines().count();
    assert_eq!(length, 8);
}

#[test]
fn strangers_and_other_texts_are_not_collected() {
    let folder = begun();
    let at = folder.path();
    rotate(at, &Change::default(), 200, 2000).unwrap();
    let path = at.join(files::keys(2));
    let error = sign(&path, &at.join("release.key")).unwrap_err().to_string();
    assert!(error.ends_with("release.key is no root key of set 2, nor of the one before it"), "{error}");
    let of_the_first = at.join(files::keys_signatures(1));
    let before = standing(&path).unwrap();
    assert!(matches!(collect(&path, &[of_the_first]), Err(SetsError::Signature { .. })));
    fs::write(at.join("x.sig"), "nonsense").unwrap();
    assert!(matches!(collect(&path, &[at.join("x.sig")]), Err(SetsError::Signature { .. })));
    assert_eq!(standing(&path).unwrap(), before);
    fs::remove_file(at.join(files::keys(1))).unwrap();
    assert!(matches!(standing(&path), Err(SetsError::NoPrevious(_))));
}

#[test]
fn a_lost_root_key_is_replaced_with_the_other_two() {
    let folder = begun();
    let at = folder.path();
    fs::remove_file(at.join("root-2.key")).unwrap();
    let next = rotate(at, &replace(Role::Root, "root-2"), 200, 2000).unwrap();
    assert!(next.is_complete(), "{:?}", next.missing());
    assert_eq!(names(&next.own), ["root-1", "root-2.e2", "root-3"]);
    assert_eq!(names(&next.previous.unwrap().1), ["root-1", "root-3"]);
    // The new one signs from now on.
    fs::remove_file(at.join("root-1.key")).unwrap();
    let last = rotate(at, &Change::default(), 300, 3000).unwrap();
    assert!(last.is_complete());
    assert_eq!(names(&last.own), ["root-2.e2", "root-3"]);
}

#[test]
fn keys_are_added_and_taken_out_and_what_cannot_be_makes_nothing() {
    let folder = begun();
    let at = folder.path();
    let second = tempfile::tempdir().unwrap();
    make_keys(second.path(), "second").unwrap();
    let add = vec![(Role::Release, second.path().join("release/second.pub"))];
    let next = rotate(at, &Change { add: add.clone(), ..Change::default() }, 200, 2000).unwrap();
    assert!(holds(second.path(), "release.key", &next.set.keys(Role::Release)));
    assert!(holds(at, "release.key", &next.set.keys(Role::Release)));
    let revoke = |name: &str| Change { revoke: vec![(Role::Release, name.into())], ..Change::default() };
    let last = rotate(at, &revoke("own"), 300, 3000).unwrap();
    assert!(!holds(at, "release.key", &last.set.keys(Role::Release)));
    let fails = |change: &Change, expect: &str| {
        let error = rotate(at, change, 400, 4000).unwrap_err();
        assert!(causes(&error).contains(expect), "{error}");
    };
    fails(&revoke("own"), "no release key `own` in set 3");
    fails(&revoke("second"), "release: it wants 1 to 16 keys");
    fails(&Change { add, ..Change::default() }, "are one key");
    fails(&Change { threshold: Some(1), ..replace(Role::Root, "root-1") }, "2 root keys are the least");
    fails(&replace(Role::Release, "release"), "no release key `release` in set 3");
    assert!(!at.join(files::keys(4)).exists() && !at.join("root-1.e4.key").exists());
    assert!(matches!(begin(at, 1, 2), Err(SetsError::Exists(_))));
}

fn causes(error: &dyn std::error::Error) -> String {
    error.source().map_or(error.to_string(), |source| format!("{error}: {}", causes(source)))
}
