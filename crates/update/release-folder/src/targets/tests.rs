//! Lists of releases that rotate, are signed in several places, and belong to another product.

use std::fs;
use std::num::NonZeroU64;

use serde_json::{Value, json};
use tempfile::TempDir;
use tuf::TargetFile;
use update_core::repository::release_target;

use super::*;
use crate::password::Password;
use crate::rotate::tests::{causes, names, new_folder, replace};
use crate::rotate::{Change, rotate};

/// Lists a file as a release, as `keelson release` does.
pub fn list(folder: &Path, version: &str) {
    let root = newest_root(folder).unwrap();
    let secret = SigningKey::read(&folder.join("release.key")).unwrap();
    let mut targets = next_targets(&root, load_targets(folder, &root).unwrap().as_ref()).unwrap();
    let path = release_target("amd64-usr", &version.parse().unwrap());
    targets.targets.insert(path, TargetFile::of(version.as_bytes()));
    let path = folder.join(TARGETS_FILE);
    write(&path, &sign_new(&path, &targets, &root, &[secret.signer()]).unwrap(), &root).unwrap();
}

fn loaded(folder: &Path) -> Result<Targets, TargetsError> {
    load_targets(folder, &newest_root(folder).unwrap()).map(Option::unwrap)
}

fn fails<T: std::fmt::Debug>(attempt: Result<T, TargetsError>, expected: &str) {
    let error = causes(&attempt.unwrap_err());
    assert!(error.contains(expected), "{error}");
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut tree = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut tree);
    fs::write(path, serde_json::to_vec(&tree).unwrap()).unwrap();
}

#[test]
fn the_list_begins_with_the_first_root_and_follows_each_rotation() {
    let folder = new_folder();
    let at = folder.path();
    let first = loaded(at).unwrap();
    assert_eq!((first.header.version.get(), first.targets.len()), (1, 0));
    list(at, "1.0.0");
    for (role, file, version) in [(Role::Channel, "channel", 3), (Role::Release, "release", 4)] {
        rotate(at, &replace(role, file), &mut None, 2000).unwrap();
        let targets = loaded(at).unwrap();
        assert_eq!((targets.header.version.get(), targets.targets.len()), (version, 1));
        let root = newest_root(at).unwrap();
        assert!(is_current(&targets, &root).unwrap());
        assert_eq!(targets.header.expires, root.header.expires);
    }
    let before = fs::read(at.join(TARGETS_FILE)).unwrap();
    assert!(refresh_targets(at, &[], &mut None).unwrap().unwrap().is_complete());
    assert_eq!(fs::read(at.join(TARGETS_FILE)).unwrap(), before, "idempotent");
}

/// Attack: a release key is stolen and revoked. It lists one more release.
#[test]
fn a_revoked_release_key_adds_no_release() {
    let folder = new_folder();
    let at = folder.path();
    list(at, "1.0.0");
    rotate(at, &replace(Role::Release, "release"), &mut None, 2000).unwrap();
    let stolen = at.join("release.revoked-in-2.key");
    let path = at.join(TARGETS_FILE);
    let good = fs::read(&path).unwrap();
    fails(sign_targets(&path, &stolen, &mut None), "is not a release key of root version 2");
    assert_eq!(fs::read(&path).unwrap(), good);
    // As its thief signs.
    let thief = SigningKey::read(&stolen).unwrap();
    let mut targets = loaded(at).unwrap();
    targets.header.version = NonZeroU64::new(9).unwrap();
    targets.targets.insert(release_target("amd64-usr", &"9.0.0".parse().unwrap()), TargetFile::of(b"x"));
    let root = Signed::<Root>::parse(&fs::read(at.join("1.root.json")).unwrap()).unwrap().signed;
    fs::write(&path, sign_new(&path, &targets, &root, &[thief.signer()]).unwrap()).unwrap();
    fails(loaded(at), "is not fully signed: 1 of own.v2 (release keys of root version 2) must sign");
    // A later rotation does not sign it either: neither root's release keys did.
    rotate(at, &Change::default(), &mut None, 3000).unwrap();
    fails(refresh_targets(at, &[], &mut None), "release keys of root version 2 did not sign");
    fails(loaded(at), "is not fully signed");
}

/// Attack: the list of another product, whose keys are others.
#[test]
fn the_list_of_another_product_is_refused() {
    let [folder, other] = [new_folder(), new_folder()];
    list(other.path(), "1.0.0");
    let path = folder.path().join(TARGETS_FILE);
    fs::copy(other.path().join(TARGETS_FILE), &path).unwrap();
    fails(loaded(folder.path()), "is not fully signed: 1 of own (release keys of root version 1) must sign");
    fails(verified(&path, &fs::read(&path).unwrap(), &newest_root(folder.path()).unwrap()), "did not sign");
    fails(refresh_targets(folder.path(), &[], &mut None), "did not sign");
    fs::write(&path, vec![b' '; MAX_TARGETS + 1]).unwrap();
    fails(loaded(folder.path()), "is longer than");
}

#[test]
fn a_release_key_elsewhere_signs_after_the_rotation() {
    let folder = new_folder();
    let at = folder.path();
    list(at, "1.0.0");
    let elsewhere = tempfile::tempdir().unwrap();
    let key = elsewhere.path().join("release.key");
    fs::rename(at.join("release.key"), &key).unwrap();
    let path = at.join(TARGETS_FILE);
    let before = fs::read(&path).unwrap();
    let root = rotate(at, &replace(Role::Channel, "channel"), &mut None, 2000).unwrap().root;
    assert_eq!(fs::read(&path).unwrap(), before);
    assert!(!is_current(&loaded(at).unwrap(), &root).unwrap());
    let signed = sign_targets(&path, &key, &mut None).unwrap();
    assert_eq!((signed.targets.header.version.get(), names(&signed.signed_by)), (3, vec!["own"]));
    assert!(is_current(&loaded(at).unwrap(), &root).unwrap());
    assert_eq!(loaded(at).unwrap().targets.len(), 1);
    let before = fs::read(&path).unwrap();
    assert_eq!(sign_targets(&path, &key, &mut None).unwrap(), signed);
    assert_eq!(fs::read(&path).unwrap(), before, "idempotent");
}

fn with_two_release_keys() -> (TempDir, TempDir) {
    let [folder, second] = [new_folder(), new_folder()];
    let at = folder.path();
    let second_pub = at.join("second.pub");
    fs::copy(second.path().join("release/own.pub"), &second_pub).unwrap();
    let add = vec![(Role::Release, second_pub)];
    assert!(rotate(at, &Change { add, ..Change::default() }, &mut None, 2000).unwrap().is_complete());
    let both = Change { release_threshold: NonZeroU64::new(2), ..Change::default() };
    assert!(rotate(at, &both, &mut None, 2000).unwrap().is_complete());
    (folder, second)
}

#[test]
fn two_release_keys_sign_in_two_places() {
    let (folder, second) = with_two_release_keys();
    let at = folder.path();
    let path = at.join(TARGETS_FILE);
    let half = sign_targets(&path, &at.join("release.key"), &mut None).unwrap();
    let missing = "1 of second (release keys of root version 3) must sign";
    assert_eq!((names(&half.signed_by), half.missing.as_deref()), (vec!["own"], Some(missing)));
    fails(loaded(at), missing);
    let copy = at.join("copy");
    fs::copy(&path, &copy).unwrap();
    sign_targets(&copy, &second.path().join("release.key"), &mut None).unwrap();
    let good = fs::read(&copy).unwrap();
    let before = fs::read(&path).unwrap();
    let refused = |change: &dyn Fn(&mut Value), expected: &str| {
        fs::write(&copy, &good).unwrap();
        edit(&copy, change);
        fails(merge_targets_signatures(&path, std::slice::from_ref(&copy)), expected);
        assert_eq!(fs::read(&path).unwrap(), before);
    };
    refused(&|tree| tree["signed"]["version"] = 9.into(), "\"signed.version\" differs");
    refused(
        &|tree| tree["signed"]["targets"]["x"] = json!({"length": 1, "hashes": {"sha256": "00".repeat(32)}}),
        "differs",
    );
    refused(
        &|tree| tree["signatures"][1]["sig"] = "00".repeat(64).into(),
        "was not made by a release key of root version 3",
    );
    fs::write(&copy, good).unwrap();
    let both = merge_targets_signatures(&path, std::slice::from_ref(&copy)).unwrap();
    assert!(both.is_complete());
    assert_eq!(names(&both.signed_by), ["own", "second"]);
    loaded(at).unwrap();
}

#[test]
fn a_rotation_without_the_password_of_the_release_key_leaves_the_list() {
    let folder = new_folder();
    let at = folder.path();
    let password = Password::of_line("release").unwrap();
    let change = Change { password: Some(password.clone()), ..replace(Role::Release, "release") };
    rotate(at, &change, &mut None, 2000).unwrap();
    let before = fs::read(at.join(TARGETS_FILE)).unwrap();
    rotate(at, &Change::default(), &mut None, 3000).unwrap();
    assert_eq!(fs::read(at.join(TARGETS_FILE)).unwrap(), before);
    rotate(at, &Change::default(), &mut Some(password), 4000).unwrap();
    assert!(is_current(&loaded(at).unwrap(), &newest_root(at).unwrap()).unwrap());
}
