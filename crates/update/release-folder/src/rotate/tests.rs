//! Rotations in one folder, and with root keys in three places.

use release::{Keys, files};
use tempfile::TempDir;

use super::*;
use crate::first_set::{FirstSet, create_first_set};
use crate::key_sets::{copy_sets, load_sets, merge_signatures, sign_set, status};
use crate::keys::generate_keys;

const FIRST: FirstSet<'_> = FirstSet { root_folders: &[], password: None, issued: 100, expires: 1000 };

fn new_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    generate_keys(folder.path(), "own", None).unwrap();
    let first = create_first_set(folder.path(), &FIRST).unwrap();
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
    let next = rotate(at, &replace(Role::Release, "release"), &mut None, 200, 2000).unwrap();
    assert!(next.is_complete(), "{:?}", next.missing());
    assert_eq!((next.set.epoch, next.set.release[0].name.as_str()), (2, "own.e2"));
    let keys = next.set.keys(Role::Release);
    assert!(is_valid(at, "release.key", &keys) && !is_valid(at, "release.revoked-in-2.key", &keys));
    // A second rotation, and the chain from the first set to the last.
    let last = rotate(at, &replace(Role::Release, "release"), &mut None, 300, 3000).unwrap();
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
    let next = rotate(at, &replace(Role::Channel, "channel"), &mut None, 200, 2000).unwrap();
    let wants = "1 of root-2, root-3 (root keys of set 1) must sign";
    assert_eq!(next.missing()[0], wants);
    // An incomplete set is neither the base of another one nor published.
    let error = rotate(at, &Change::default(), &mut None, 300, 3000).unwrap_err().to_string();
    assert!(error.starts_with("set 2 is not fully signed: 1 of root-2, root-3"), "{error}");
    assert_eq!(copy_sets(at, elsewhere[0].path()).unwrap(), ["keys.1.json", "keys.1.json.sig"]);
    // The set is signed elsewhere, and the signature is merged.
    let other = elsewhere[0].path();
    let path = at.join(files::keys(2));
    fs::copy(&path, other.join(files::keys(2))).unwrap();
    let signed = sign_set(&other.join(files::keys(2)), &other.join("root-2.key"), &mut None).unwrap();
    assert_eq!(names(&signed.own), ["root-2"]);
    assert!(!signed.is_complete());
    let text = other.join(files::keys_signatures(2));
    let once = merge_signatures(&path, std::slice::from_ref(&text)).unwrap();
    assert!(once.is_complete());
    assert_eq!(names(&once.previous.clone().unwrap().1), ["root-1", "root-2"]);
    assert_eq!(merge_signatures(&path, &[text.clone(), text]).unwrap(), once);
    assert_eq!(sign_set(&path, &other.join("root-2.key"), &mut None).unwrap(), once);
    let length = fs::read_to_string(at.join(files::keys_signatures(2))).unwrap().lines().count();
    assert_eq!(length, 8);
}

#[test]
fn unknown_keys_and_other_texts_are_rejected() {
    let folder = new_folder();
    let at = folder.path();
    rotate(at, &Change::default(), &mut None, 200, 2000).unwrap();
    let path = at.join(files::keys(2));
    let error = sign_set(&path, &at.join("release.key"), &mut None).unwrap_err().to_string();
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
    let next = rotate(at, &replace(Role::Root, "root-2"), &mut None, 200, 2000).unwrap();
    assert!(next.is_complete(), "{:?}", next.missing());
    assert_eq!(names(&next.own), ["root-1", "root-2.e2", "root-3"]);
    assert_eq!(names(&next.previous.unwrap().1), ["root-1", "root-3"]);
    // The new root key can sign.
    fs::remove_file(at.join("root-1.key")).unwrap();
    let last = rotate(at, &Change::default(), &mut None, 300, 3000).unwrap();
    assert!(last.is_complete());
    assert_eq!(names(&last.own), ["root-2.e2", "root-3"]);
}

#[test]
fn new_keys_are_encrypted_and_those_of_others_have_other_passwords() {
    let password = |text: &str| Password::of_line(text).unwrap();
    let (roots, release) = (password("roots"), password("release"));
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let media = [1, 2, 3].map(|_| tempfile::tempdir().unwrap());
    let places: Vec<_> = media.iter().map(|medium| medium.path().to_owned()).collect();
    generate_keys(at, "own", Some(&release)).unwrap();
    let first = FirstSet { root_folders: &places, password: Some(&roots), ..FIRST };
    assert!(create_first_set(at, &first).unwrap().is_complete());
    let root = |number: usize| places[number - 1].join(format!("root-{number}.key"));
    assert!(!at.join("root-1.key").exists() && root(1).exists() && root(3).exists());

    let signers = vec![root(1), root(3)];
    let new = password("new");
    let change = Change { signers, password: Some(new.clone()), ..replace(Role::Release, "release") };
    let error = rotate(at, &change, &mut Some(roots.clone()), 200, 2000).unwrap_err().to_string();
    assert_eq!(error, format!("wrong password for {}", at.join("release.key").display()));
    let mut both = List(vec![roots.clone(), release]);
    let next = rotate(at, &change, &mut both, 200, 2000).unwrap();
    assert!(next.is_complete(), "{:?}", next.missing());
    SigningKey::unlock(&at.join("release.key"), &mut Some(new.clone())).unwrap();
    // The folder of the channel key is copied to a server: nothing else may be there.
    rotate(
        at,
        &Change { signers: vec![root(1), root(2)], password: Some(new), ..replace(Role::Channel, "channel") },
        &mut Some(roots),
        300,
        3000,
    )
    .unwrap();
    let mut files: Vec<_> =
        fs::read_dir(at.join("server")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["channel.key", "channel.revoked-in-3.key"]);
    SigningKey::read(&at.join("server/channel.key")).unwrap();
    // Lost, and the only one of its role.
    fs::remove_file(at.join("release.key")).unwrap();
    let last = rotate(at, &replace(Role::Release, "release"), &mut None, 400, 4000).unwrap();
    assert_eq!(last.set.release[0].name.as_str(), "own.e4");
}

#[test]
fn a_channel_key_beside_the_others_is_replaced_by_one_in_its_own_folder() {
    let folder = new_folder();
    let at = folder.path();
    // As older versions created it.
    fs::rename(at.join("server/channel.key"), at.join("channel.key")).unwrap();
    let next = rotate(at, &replace(Role::Channel, "channel"), &mut None, 200, 2000).unwrap();
    assert!(is_valid(at, "server/channel.key", &next.set.keys(Role::Channel)));
    assert!(!at.join("channel.key").exists() && at.join("channel.revoked-in-2.key").exists());
}

struct List(Vec<Password>);

impl Passwords for List {
    fn next(
        &mut self,
        _: &Path,
        rejected: usize,
    ) -> Result<Option<Password>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.get(rejected).cloned())
    }
}

#[test]
fn root_keys_need_folders_of_their_own_and_none_is_left_after_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    generate_keys(at, "own", None).unwrap();
    let places = ["a", "b", "c"].map(|name| at.join(name));
    let fails = |places: &[PathBuf], expected: &str| {
        let error = create_first_set(at, &FirstSet { root_folders: places, ..FIRST }).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!at.join("root-1.key").exists() && !at.join("keys.1.json").exists());
    };
    fails(&places[..2], "each of the 3 root keys needs a folder of its own: 2 given");
    fails(&places, &format!("cannot read {}", places[0].display()));
    for place in &places {
        fs::create_dir(place).unwrap();
    }
    fails(&[places[0].clone(), places[1].clone(), at.join("b/../a")], "a is given twice");
    // The public key of another root key is not overwritten, and kept.
    fs::create_dir(at.join("root")).unwrap();
    fs::write(at.join("root/root-3.pub"), "x").unwrap();
    fails(&places, "root-3.pub already exists");
    fs::remove_file(at.join("root/root-3.pub")).unwrap();
    // The last file cannot be written.
    fs::create_dir_all(at.join("keys.1.json.sig/x")).unwrap();
    fails(&places, "cannot write");
    assert_eq!(fs::read_dir(&places[0]).unwrap().count(), 0, "the next attempt creates all of them");
    fs::remove_dir_all(at.join("keys.1.json.sig")).unwrap();
    let first = create_first_set(at, &FirstSet { root_folders: &places, ..FIRST }).unwrap();
    assert!(first.is_complete());
}

#[test]
fn keys_are_added_and_revoked_and_invalid_changes_have_no_effect() {
    let folder = new_folder();
    let at = folder.path();
    let second = tempfile::tempdir().unwrap();
    generate_keys(second.path(), "second", None).unwrap();
    let add = vec![(Role::Release, second.path().join("release/second.pub"))];
    let next = rotate(at, &Change { add: add.clone(), ..Change::default() }, &mut None, 200, 2000).unwrap();
    assert!(is_valid(second.path(), "release.key", &next.set.keys(Role::Release)));
    assert!(is_valid(at, "release.key", &next.set.keys(Role::Release)));
    let revoke = |name: &str| Change { revoke: vec![(Role::Release, name.into())], ..Change::default() };
    let last = rotate(at, &revoke("own"), &mut None, 300, 3000).unwrap();
    assert!(!is_valid(at, "release.key", &last.set.keys(Role::Release)));
    let fails = |change: &Change, expect: &str| {
        let error = rotate(at, change, &mut None, 400, 4000).unwrap_err();
        assert!(causes(&error).contains(expect), "{error}");
    };
    fails(&revoke("own"), "no release key `own` in set 3");
    fails(&revoke("second"), "release: must have 1 to 16 keys");
    fails(&Change { add, ..Change::default() }, "are the same key");
    fails(&Change { threshold: Some(1), ..replace(Role::Root, "root-1") }, "threshold: must be at least 2");
    fails(&replace(Role::Release, "release"), "no release key `release` in set 3");
    assert!(!at.join(files::keys(4)).exists() && !at.join("root-1.e4.key").exists());
    assert!(matches!(create_first_set(at, &FIRST), Err(KeySetError::Exists(_))));
}

fn causes(error: &dyn std::error::Error) -> String {
    error.source().map_or(error.to_string(), |source| format!("{error}: {}", causes(source)))
}
