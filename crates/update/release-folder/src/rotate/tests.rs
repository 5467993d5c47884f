//! Rotations in one folder, and with root keys in three places.

use tempfile::TempDir;

use super::*;
use crate::first_root::{FirstRoot, create_first_root};
use crate::keys::generate_keys;
use crate::roots::{copy_roots, load_roots};

pub const FIRST: FirstRoot<'_> = FirstRoot { root_folders: &[], password: None, expires: 1000 };

pub fn new_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    generate_keys(folder.path(), "own", None).unwrap();
    let first = create_first_root(folder.path(), &FIRST, &mut None).unwrap();
    assert!(first.is_complete());
    assert_eq!(names(&first.own), ["root-1", "root-2", "root-3"]);
    folder
}

pub fn names(signers: &[FileName]) -> Vec<&str> {
    signers.iter().map(FileName::as_str).collect()
}

pub fn replace(role: Role, file: &str) -> Change {
    Change { replace: vec![Replace { role, file: file.into() }], ..Change::default() }
}

/// Whether the folder's secret key is one of the root's for a role.
fn is_valid(folder: &Path, file: &str, root: &Root, role: Role) -> bool {
    let secret = SigningKey::read(&folder.join(file)).unwrap();
    roots::named_keys(root, role).iter().any(|named| named.is_key(secret.public()))
}

/// Names of a role's keys.
fn listed(root: &Root, role: Role) -> Vec<String> {
    roots::named_keys(root, role).iter().map(|key| key.name.to_string()).collect()
}

/// As a machine does.
fn follow(folder: &Path) -> Root {
    let mut chain: Vec<_> = load_roots(folder).unwrap().into_iter().map(|root| root.bytes).collect();
    let first = Root::first(&chain.remove(0)).unwrap();
    roots::replay(&first, &chain).unwrap()
}

#[test]
fn a_replaced_key_is_revoked_and_the_new_one_takes_its_place() {
    let folder = new_folder();
    let at = folder.path();
    let next = rotate(at, &replace(Role::Release, "release"), &mut None, 2000).unwrap();
    assert!(next.is_complete(), "{:?}", next.missing());
    assert_eq!((roots::version(&next.root), roots::expires(&next.root)), (2, 2000));
    assert_eq!(listed(&next.root, Role::Release), ["own.v2"]);
    let is_valid_next = |file: &str| is_valid(at, file, &next.root, Role::Release);
    assert!(is_valid_next("release.key") && !is_valid_next("release.revoked-in-2.key"));
    assert_eq!(follow(at), next.root);
    // A second rotation, and the chain from the first root to the last.
    let last = rotate(at, &replace(Role::Release, "release"), &mut None, 3000).unwrap();
    assert_eq!(listed(&last.root, Role::Release), ["own.v3"]);
    assert!(!is_valid(at, "release.revoked-in-3.key", &last.root, Role::Release));
    assert_eq!(load_roots(at).unwrap().iter().map(|root| root.version).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(follow(at), last.root);
    let to = tempfile::tempdir().unwrap();
    assert_eq!(copy_roots(at, to.path()).unwrap(), ["1.root.json", "2.root.json", "3.root.json"]);
    assert_eq!(load_roots(to.path()).unwrap(), load_roots(at).unwrap());
}

#[test]
fn a_lost_root_key_is_replaced_with_the_other_two() {
    let folder = new_folder();
    let at = folder.path();
    fs::remove_file(at.join("root-2.key")).unwrap();
    let next = rotate(at, &replace(Role::Root, "root-2"), &mut None, 2000).unwrap();
    assert!(next.is_complete(), "{:?}", next.missing());
    assert_eq!(names(&next.own), ["root-1", "root-2.v2", "root-3"]);
    assert_eq!(names(&next.previous.unwrap().1), ["root-1", "root-3"]);
    // The new root key can sign.
    fs::remove_file(at.join("root-1.key")).unwrap();
    let last = rotate(at, &Change::default(), &mut None, 3000).unwrap();
    assert!(last.is_complete());
    assert_eq!(names(&last.own), ["root-2.v2", "root-3"]);
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
    let first = FirstRoot { root_folders: &places, password: Some(&roots), ..FIRST };
    assert!(create_first_root(at, &first, &mut Some(release.clone())).unwrap().is_complete());
    let root = |number: usize| places[number - 1].join(format!("root-{number}.key"));
    assert!(!at.join("root-1.key").exists() && root(1).exists() && root(3).exists());

    let signers = vec![root(1), root(3)];
    let new = password("new");
    let change = Change { signers, password: Some(new.clone()), ..replace(Role::Release, "release") };
    let error = rotate(at, &change, &mut Some(roots.clone()), 2000).unwrap_err().to_string();
    assert_eq!(error, format!("wrong password for {}", at.join("release.key").display()));
    let mut both = List(vec![roots.clone(), release]);
    let next = rotate(at, &change, &mut both, 2000).unwrap();
    assert!(next.is_complete(), "{:?}", next.missing());
    SigningKey::unlock(&at.join("release.key"), &mut Some(new.clone())).unwrap();
    // The folder of the channel key is copied to a server: nothing else may be there.
    rotate(
        at,
        &Change { signers: vec![root(1), root(2)], password: Some(new), ..replace(Role::Channel, "channel") },
        &mut Some(roots),
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
    let last = rotate(at, &replace(Role::Release, "release"), &mut None, 4000).unwrap();
    assert_eq!(listed(&last.root, Role::Release), ["own.v4"]);
}

#[test]
fn a_channel_key_beside_the_others_is_replaced_by_one_in_its_own_folder() {
    let folder = new_folder();
    let at = folder.path();
    // As older versions created it.
    fs::rename(at.join("server/channel.key"), at.join("channel.key")).unwrap();
    let next = rotate(at, &replace(Role::Channel, "channel"), &mut None, 2000).unwrap();
    assert!(is_valid(at, "server/channel.key", &next.root, Role::Channel));
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
        let error =
            create_first_root(at, &FirstRoot { root_folders: places, ..FIRST }, &mut None).unwrap_err();
        assert!(causes(&error).contains(expected), "{}", causes(&error));
        assert!(!at.join("root-1.key").exists() && !at.join("1.root.json").exists());
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
    // The root, which is the last file, is refused.
    let release = at.join("release/own.pub");
    fs::copy(&release, at.join("channel/copy.pub")).unwrap();
    fails(&places, "1.root.json is not accepted: invalid root: `own` and channel `copy` are the same key");
    fs::remove_file(at.join("channel/copy.pub")).unwrap();
    for number in 2..=17 {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        fs::write(at.join(format!("release/{number}.pub")), pair.pk.to_box().unwrap().to_string()).unwrap();
    }
    fails(&places, "1.root.json is not accepted: invalid root: release: must have 1 to 16 keys");
    assert_eq!(fs::read_dir(&places[0]).unwrap().count(), 0, "the next attempt creates all of them");
    fs::remove_file(at.join("release/17.pub")).unwrap();
    let first = create_first_root(at, &FirstRoot { root_folders: &places, ..FIRST }, &mut None).unwrap();
    assert!(first.is_complete());
}

#[test]
fn keys_are_added_and_revoked_and_invalid_changes_have_no_effect() {
    let folder = new_folder();
    let at = folder.path();
    let second = tempfile::tempdir().unwrap();
    generate_keys(second.path(), "second", None).unwrap();
    let add = vec![(Role::Release, second.path().join("release/second.pub"))];
    let next = rotate(at, &Change { add: add.clone(), ..Change::default() }, &mut None, 2000).unwrap();
    assert!(is_valid(second.path(), "release.key", &next.root, Role::Release));
    assert!(is_valid(at, "release.key", &next.root, Role::Release));
    let revoke = |name: &str| Change { revoke: vec![(Role::Release, name.into())], ..Change::default() };
    let last = rotate(at, &revoke("own"), &mut None, 3000).unwrap();
    assert!(!is_valid(at, "release.key", &last.root, Role::Release));
    let before = files(at);
    let fails = |change: &Change, expect: &str| {
        let error = rotate(at, change, &mut None, 4000).unwrap_err();
        assert!(causes(&error).contains(expect), "{}", causes(&error));
        assert_eq!(files(at), before, "{expect}");
    };
    let add_as = |role: Role, file: &str| Change { add: vec![(role, at.join(file))], ..Change::default() };
    fails(&revoke("own"), "no release key `own` in root version 3");
    fails(&revoke("second"), "4.root.json is not accepted: invalid root: release: must have 1 to 16 keys");
    fails(&Change { add, ..Change::default() }, "are the same key");
    fails(&add_as(Role::Release, "root/root-1.pub"), "`root-1` and release `root-1` are the same key");
    fails(&add_as(Role::Root, "channel/own.pub"), "are the same key");
    let threshold =
        |threshold: u64| Change { threshold: NonZeroU64::new(threshold), ..replace(Role::Root, "root-1") };
    fails(&threshold(1), "threshold of root: must be at least 2");
    fails(&threshold(4), "threshold of root: greater than the number of keys, 3");
    fails(&replace(Role::Release, "release"), "no release key `release` in root version 3");
    // The first of two new keys is created, and removed.
    let both = [Role::Channel, Role::Release].map(|role| Replace { role, file: role.name().to_owned() });
    fails(
        &Change { replace: both.to_vec(), ..Change::default() },
        "no release key `release` in root version 3",
    );
    let error = rotate(at, &Change::default(), &mut None, u64::MAX).unwrap_err();
    assert!(matches!(error, RootError::Expires(_)), "{error}");
    assert!(matches!(create_first_root(at, &FIRST, &mut None), Err(RootError::Exists(_))));
}

/// All files below a folder, and their contents.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .flat_map(
            |path| if path.is_dir() { files(&path) } else { vec![(path.clone(), fs::read(path).unwrap())] },
        )
        .collect();
    files.sort();
    files
}

pub fn causes(error: &dyn std::error::Error) -> String {
    error.source().map_or(error.to_string(), |source| format!("{error}: {}", causes(source)))
}

/// Attack: a server hands out a root of its own.
#[test]
fn only_a_root_that_follows_the_newest_one_is_added() {
    let [folder, other] = [new_folder(), new_folder()];
    let copy = tempfile::tempdir().unwrap();
    copy_roots(folder.path(), copy.path()).unwrap();
    let read = |folder: &TempDir, name: &str| fs::read(folder.path().join(name)).unwrap();
    for folder in [&folder, &other] {
        rotate(folder.path(), &Change::default(), &mut None, 2000).unwrap();
        rotate(folder.path(), &Change::default(), &mut None, 3000).unwrap();
    }
    for (from, name) in [(&other, "2.root.json"), (&folder, "3.root.json"), (&folder, "1.root.json")] {
        let error = crate::roots::add_root(copy.path(), &read(from, name)).unwrap_err().to_string();
        assert!(error.contains("2.root.json does not follow the root before it"), "{error}");
    }
    crate::roots::add_root(copy.path(), &read(&folder, "2.root.json")).unwrap();
    crate::roots::add_root(copy.path(), &read(&folder, "3.root.json")).unwrap();
    assert_eq!(load_roots(copy.path()).unwrap(), load_roots(folder.path()).unwrap());
}
