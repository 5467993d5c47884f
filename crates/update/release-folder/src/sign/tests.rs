//! Signatures of one folder and of three places, by keys and in files that do not belong to the root.

use std::fs;

use release::FileName;
use serde_json::json;
use tempfile::TempDir;
use tuf::Ed25519Signer;
use update_core::roots::{NamedKey, Role};

use super::*;
use crate::roots::{copy_roots, load_roots};
use crate::rotate::tests::{causes, names, new_folder, replace};
use crate::rotate::{Change, rotate, rotate_with};

/// Two root keys are elsewhere, and the next root lacks their signatures.
fn incomplete() -> (TempDir, [TempDir; 2]) {
    let folder = new_folder();
    let at = folder.path();
    let elsewhere = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (number, folder) in [(2, &elsewhere[0]), (3, &elsewhere[1])] {
        let file = format!("root-{number}.key");
        fs::rename(at.join(&file), folder.path().join(&file)).unwrap();
    }
    let next = rotate(at, &replace(Role::Channel, "channel"), &mut None, 2000).unwrap();
    assert_eq!(next.missing()[0], "1 of root-2, root-3 (root keys of version 1) must sign");
    for folder in &elsewhere {
        for name in ["1.root.json", "2.root.json"] {
            fs::copy(at.join(name), folder.path().join(name)).unwrap();
        }
    }
    (folder, elsewhere)
}

/// Changes a JSON file.
fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut tree = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut tree);
    fs::write(path, serde_json::to_vec(&tree).unwrap()).unwrap();
}

/// Checks that an attempt fails and that the file remains the same.
fn fails(path: &Path, attempt: impl FnOnce() -> Result<RootStatus, RootError>, expected: &str) {
    let before = fs::read(path).unwrap();
    let error = causes(&attempt().unwrap_err());
    assert!(error.contains(expected), "{error}");
    assert_eq!(fs::read(path).unwrap(), before, "{expected}");
}

#[test]
fn signatures_from_several_folders_are_merged() {
    let (folder, elsewhere) = incomplete();
    let (at, path) = (folder.path(), folder.path().join("2.root.json"));
    let draft = at.join("draft");
    fs::copy(&path, &draft).unwrap();
    // An incomplete root is neither the base of another one nor published.
    let error = rotate(at, &Change::default(), &mut None, 3000).unwrap_err().to_string();
    assert!(error.starts_with("root version 2 is not fully signed: 1 of root-2, root-3"), "{error}");
    let to = tempfile::tempdir().unwrap();
    assert_eq!(copy_roots(at, to.path()).unwrap(), ["1.root.json"]);
    // Copies are signed elsewhere, one after removal of the signature that it had.
    let [two, three] = elsewhere.each_ref().map(|folder| folder.path().join("2.root.json"));
    edit(&two, |tree| tree["signatures"] = json!([]));
    let signed = sign_root(&two, &two.with_file_name("root-2.key"), &mut None).unwrap();
    assert_eq!(names(&signed.own), ["root-2"]);
    assert!(!signed.is_complete());
    let once = merge_signatures(&path, std::slice::from_ref(&two)).unwrap();
    assert!(once.is_complete());
    assert_eq!(names(&once.previous.clone().unwrap().1), ["root-1", "root-2"]);
    // Idempotent, byte for byte.
    let before = fs::read(&path).unwrap();
    assert_eq!(merge_signatures(&path, &[two.clone(), two.clone()]).unwrap(), once);
    assert_eq!(sign_root(&path, &two.with_file_name("root-2.key"), &mut None).unwrap(), once);
    assert_eq!(fs::read(&path).unwrap(), before);
    sign_root(&three, &three.with_file_name("root-3.key"), &mut None).unwrap();
    let all = merge_signatures(&path, std::slice::from_ref(&three)).unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(merge_signatures(&path, &[three, draft]).unwrap(), all);
    assert_eq!(sign_root(&path, &at.join("root-1.key"), &mut None).unwrap(), all);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names(&all.own), ["root-1", "root-2", "root-3"]);
    let chain: Vec<_> = load_roots(at).unwrap().into_iter().map(|root| root.bytes).collect();
    assert_eq!(Root::first(&chain[0]).unwrap().next(&chain[1]).unwrap(), all.root);
}

#[test]
fn keys_that_are_no_root_keys_do_not_sign() {
    let folder = new_folder();
    let (at, path) = (folder.path(), folder.path().join("1.root.json"));
    let foreign = new_folder();
    for key in [at.join("release.key"), at.join("server/channel.key"), foreign.path().join("root-1.key")] {
        let expected = format!("{} is neither a root key of root version 1 nor of", key.display());
        fails(&path, || sign_root(&path, &key, &mut None), &expected);
    }
    let next = rotate(at, &Change::default(), &mut None, 2000).unwrap();
    let third = at.join("3.root.json");
    fs::copy(&next.path, &third).unwrap();
    let expected = "3.root.json contains root version 2, its name requires 3";
    fails(&third, || sign_root(&third, &at.join("root-1.key"), &mut None), expected);
    fs::remove_file(at.join("1.root.json")).unwrap();
    let error = sign_root(&next.path, &at.join("root-1.key"), &mut None).unwrap_err();
    assert!(matches!(error, RootError::NoPrevious(_)), "{error}");
}

/// Attack: a copy that returns from another place has another content, or signatures of other keys.
#[test]
fn only_copies_with_signatures_of_root_keys_are_collected() {
    let (folder, elsewhere) = incomplete();
    let path = folder.path().join("2.root.json");
    let [two, three] = elsewhere.each_ref().map(|folder| folder.path().join("2.root.json"));
    sign_root(&two, &two.with_file_name("root-2.key"), &mut None).unwrap();
    sign_root(&three, &three.with_file_name("root-3.key"), &mut None).unwrap();
    let good = fs::read(&three).unwrap();
    let refused = |change: &dyn Fn(&mut Value), expected: &str| {
        fs::write(&three, &good).unwrap();
        edit(&three, change);
        // The signature of the first copy is not added either.
        fails(&path, || merge_signatures(&path, &[two.clone(), three.clone()]), expected);
    };
    let differs =
        |field: &str| format!("{} is not a copy of {}: \"{field}\" differs", three.display(), path.display());
    let id = serde_json::from_slice::<Value>(&good).unwrap()["signatures"][1]["keyid"].clone();
    let id = id.as_str().unwrap();
    refused(&|tree| tree["signed"]["expires"] = "2030-01-01T00:00:00Z".into(), &differs("signed.expires"));
    refused(
        &|tree| tree["signed"]["roles"]["root"]["threshold"] = 3.into(),
        &differs("signed.roles.root.threshold"),
    );
    refused(&|tree| tree["signed"]["x"] = 1.into(), &differs("signed.x"));
    // Absent and false are the same for readers, and not for signatures.
    refused(
        &|tree| drop(tree["signed"].as_object_mut().unwrap().remove("consistent_snapshot")),
        &differs("signed.consistent_snapshot"),
    );
    let not_made = format!("{}: the signature of key {:?} was not made by", three.display(), &id[..16]);
    refused(&|tree| tree["signatures"][1]["sig"] = "00".repeat(64).into(), &not_made);
    refused(&|tree| tree["signatures"][1]["sig"] = tree["signatures"][0]["sig"].clone(), &not_made);
    refused(
        &|tree| tree["signatures"][1]["keyid"] = "\u{1b}[31m".into(),
        "the signature of key \"\\u{1b}[31m\" was not made by a root key of root version 2 or of the previous one",
    );
    let twice = |tree: &mut Value| {
        let signature = tree["signatures"][0].clone();
        tree["signatures"].as_array_mut().unwrap().push(signature);
    };
    refused(&twice, &format!("cannot parse {}: signatures: two of key ", three.display()));
    refused(&|tree| *tree = json!({}), &format!("cannot parse {}: line 1, column", three.display()));
    // The first root, and its signatures in the second.
    let first = folder.path().join("1.root.json");
    let of_the_first: Value = serde_json::from_slice(&fs::read(&first).unwrap()).unwrap();
    fails(&path, || merge_signatures(&path, &[first]), "1.root.json is not a copy of");
    refused(&|tree| tree["signatures"] = of_the_first["signatures"].clone(), "was not made by a root key");
    fs::write(&three, [b' '; 1 << 17]).unwrap();
    fails(&path, || merge_signatures(&path, std::slice::from_ref(&three)), "is longer than 65536 bytes");
    fs::write(&three, good).unwrap();
    assert!(merge_signatures(&path, &[two, three]).unwrap().missing().is_empty());
}

#[test]
fn a_damaged_signature_is_replaced_and_other_fields_are_kept() {
    let (folder, elsewhere) = incomplete();
    let path = folder.path().join("2.root.json");
    let two = elsewhere[0].path().join("2.root.json");
    edit(&path, |tree| {
        tree["signatures"][0]["sig"] = "00".repeat(64).into();
        tree["comment"] = "kept".into();
    });
    assert_eq!(names(&status(&path).unwrap().own), Vec::<&str>::new());
    merge_signatures(&path, &[two]).unwrap();
    let signed = sign_root(&path, &folder.path().join("root-1.key"), &mut None).unwrap();
    assert_eq!(names(&signed.own), ["root-1"]);
    let tree: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((tree["signatures"].as_array().unwrap().len(), &tree["comment"]), (1, &json!("kept")));
}

#[test]
fn a_key_that_is_given_twice_signs_once() {
    let folder = new_folder();
    let at = folder.path();
    let change = Change { signers: vec![at.join("root-1.key"), at.join("root-1.key")], ..Change::default() };
    let next = rotate(at, &change, &mut None, 2000).unwrap();
    assert_eq!(names(&next.own), ["root-1", "root-2", "root-3"]);
}

fn name(text: &str) -> FileName {
    text.parse().unwrap()
}

/// A root of another tool, in a folder with the secret keys of `new_folder`.
fn made_elsewhere(at: &Path, change: impl FnOnce(&mut Root)) -> std::path::PathBuf {
    let path = at.join("1.root.json");
    let mut root = status(&path).unwrap().root;
    change(&mut root);
    fs::write(&path, tuf::sign(root, &[]).unwrap().to_bytes().unwrap()).unwrap();
    path
}

/// Attack: someone passes a root around that TUF accepts, and that one stolen key could replace.
#[test]
fn a_root_that_breaks_a_rule_is_neither_signed_nor_collected_nor_copied() {
    type Edit = fn(&mut Root);
    let changes: [(Edit, &str); 4] = [
        (
            |root| root.roles.root.threshold = std::num::NonZeroU64::MIN,
            "threshold of root: must be at least 2",
        ),
        (
            |root| root.roles.targets = root.roles.root.clone(),
            "`root-1` and release `root-1` are the same key",
        ),
        (
            |root| {
                let release = root.roles.targets.keyids[0].clone();
                root.roles.root.keyids.push(release);
            },
            "`own` and release `own` are the same key",
        ),
        (
            |root| {
                let key = |number| NamedKey::new(name(&format!("{number}")), &[number; 32]);
                let keys: Vec<_> = (0..17).map(key).collect();
                roots::set_keys(root, Role::Release, &keys, std::num::NonZeroU64::MIN);
            },
            "release: must have 1 to 16 keys",
        ),
    ];
    for (change, expected) in changes {
        let folder = new_folder();
        let at = folder.path();
        let path = made_elsewhere(at, change);
        let copy = at.join("copy");
        fs::copy(&path, &copy).unwrap();
        let expected = format!("{} is not accepted: invalid root: {expected}", path.display());
        fails(&path, || sign_root(&path, &at.join("root-1.key"), &mut None), &expected);
        fails(&path, || merge_signatures(&path, &[copy]), &expected);
        let to = tempfile::tempdir().unwrap();
        copy_roots(at, to.path()).unwrap_err();
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
    }
}

/// As in repositories of tuf-on-ci: fields of a key that its id does not cover.
#[test]
fn a_root_whose_ids_do_not_cover_names_is_signed() {
    let folder = new_folder();
    let at = folder.path();
    let path = made_elsewhere(at, |root| {
        for (id, key) in std::mem::take(&mut root.keys) {
            let plain = tuf::Key { extra: tuf::Extra::new(), ..key.clone() }.id();
            let roles = &mut root.roles;
            for role in [&mut roles.root, &mut roles.targets, &mut roles.timestamp, &mut roles.snapshot] {
                for keyid in role.keyids.iter_mut().filter(|keyid| **keyid == id) {
                    keyid.clone_from(&plain);
                }
            }
            root.keys.insert(plain, key);
        }
    });
    for number in 1..=2 {
        sign_root(&path, &at.join(format!("root-{number}.key")), &mut None).unwrap();
    }
    let signed = status(&path).unwrap();
    assert_eq!(names(&signed.own), ["root-1", "root-2"]);
    assert!(signed.is_complete());
    let next = rotate(at, &replace(Role::Root, "root-3"), &mut None, 2000).unwrap();
    assert!(next.is_complete(), "{:?}", next.missing());
    let chain: Vec<_> = load_roots(at).unwrap().into_iter().map(|root| root.bytes).collect();
    assert_eq!(Root::first(&chain[0]).unwrap().next(&chain[1]).unwrap(), next.root);
}

/// The same key, in files of two formats.
#[test]
fn a_key_signs_as_its_public_key_does_in_tuf() {
    let folder = new_folder();
    let secret = SigningKey::read(&folder.path().join("root-1.key")).unwrap();
    let text = fs::read_to_string(folder.path().join("root/root-1.pub")).unwrap();
    assert_eq!(*secret.public(), release::public_key("root-1.pub", &text).unwrap());
    let signature = secret.signer().sign(b"text").unwrap();
    let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(tuf::Key::ed25519(secret.public()).verifies(b"text", &hex));
    assert!(!Ed25519Signer::from_seed(&[1; 32]).unwrap().key().verifies(b"text", &hex));
}

/// A key that is in no file, such as on a token.
#[test]
fn a_key_outside_of_files_is_added_and_signs() {
    let folder = new_folder();
    let at = folder.path();
    let signer = Ed25519Signer::from_seed(&[7; 32]).unwrap();
    let name = Path::new("pkcs11:object=alice");
    let first = at.join("1.root.json");
    let expected = "pkcs11:object=alice is neither a root key of root version 1 nor of the previous one";
    fails(&first, || sign_root_with(&first, &signer, name), expected);

    let alice = NamedKey::of("alice".parse().unwrap(), signer.key().clone());
    let change = Change {
        add_keys: vec![(Role::Root, alice)],
        revoke: vec![(Role::Root, "root-1".to_owned()), (Role::Root, "root-2".to_owned())],
        ..Change::default()
    };
    let next = rotate(at, &change, &mut None, 2000).unwrap();
    assert_eq!(next.missing(), ["1 of alice (root keys of version 2) must sign"]);
    let signed = sign_root_with(&next.path, &signer, name).unwrap();
    assert!(signed.is_complete());
    let once = fs::read(&next.path).unwrap();
    assert_eq!(sign_root_with(&next.path, &signer, name).unwrap(), signed);
    assert_eq!(fs::read(&next.path).unwrap(), once);

    for number in 1..=2 {
        fs::remove_file(at.join(format!("root-{number}.key"))).unwrap();
    }
    let last = rotate_with(at, &Change::default(), &mut None, &[&signer], 3000).unwrap();
    assert!(last.is_complete(), "{:?}", last.missing());
}
