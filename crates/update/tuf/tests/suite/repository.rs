//! The repository's side: what it publishes is what the client accepts, and it publishes nothing else.

use tuf::{
    Ed25519Signer, Fetch, File, MetaFile, Paths, PublishError, Repository, Root, Signed, Signer, Snapshot,
    TargetFile, Targets, Timestamp, add_signatures, insert_signatures, sign,
};

use crate::simulator::{DAY, Machine, NOW, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, chain, date, number};

/// A key of the repository, from its number.
pub fn key(number: u8) -> Ed25519Signer {
    Ed25519Signer::from_seed(&[number; 32]).unwrap()
}

/// Numbers of keys: two of three root keys, and one of each other role.
pub const ROOTS: [u8; 3] = [1, 2, 3];
const TOP_TARGETS: u8 = 4;
const ONLINE: u8 = 5;
const DELEGATED: u8 = 6;
/// Replaces the first root key in the second root.
const NEW_ROOT: u8 = 7;

/// A target below a delegation, with a name that a URL must quote.
pub const DELEGATED_PATH: &str = "releases/1.2.3/a b?.raw";

fn set_keys(root: &mut Root, roots: &[u8]) {
    let keys: Vec<_> = roots.iter().map(|number| key(*number)).collect();
    let keys: Vec<_> = keys.iter().map(Signer::key).collect();
    root.set_keys(ROOT, &keys, number(2));
    root.set_keys(TARGETS, &[key(TOP_TARGETS).key()], number(1));
    for role in [TIMESTAMP, SNAPSHOT] {
        root.set_keys(role, &[key(ONLINE).key()], number(1));
    }
}

/// Two roots, a target, and one of a delegated role. Returns the first root, too.
pub fn published(consistent: bool, expires: i64) -> (Repository, Vec<u8>) {
    let mut repository = Repository::default();
    let mut root = Root::new(date(expires), consistent);
    set_keys(&mut root, &ROOTS);
    let first = repository.publish_root(root.clone(), &[&key(1), &key(2)]).unwrap();
    root.header.version = number(2);
    set_keys(&mut root, &[2, 3, NEW_ROOT]);
    repository.publish_root(root, &[&key(2), &key(3), &key(NEW_ROOT)]).unwrap();

    let mut targets = Targets::new(date(expires));
    let file = TargetFile::of(b"top");
    targets.targets.insert("top.txt".to_owned(), file.clone());
    repository.add_target("top.txt", &file, b"top").unwrap();
    let paths = Paths::Patterns(vec!["releases/*/*".to_owned()]);
    targets.delegate("channel/alpha", &[key(DELEGATED).key()], number(1), true, paths);
    let mut delegated = Targets::new(date(expires));
    let file = TargetFile::of(b"delegated");
    delegated.targets.insert(DELEGATED_PATH.to_owned(), file.clone());
    repository.add_target(DELEGATED_PATH, &file, b"delegated").unwrap();

    let mut snapshot = Snapshot::new(date(expires));
    let delegator = Some(&targets);
    let meta = repository.publish_targets("channel/alpha", delegated, delegator, &[&key(DELEGATED)]).unwrap();
    snapshot.list("channel/alpha", meta);
    snapshot.list(TARGETS, repository.publish_targets(TARGETS, targets, None, &[&key(TOP_TARGETS)]).unwrap());
    let meta = repository.publish_snapshot(snapshot, &[&key(ONLINE)]).unwrap();
    repository.publish_timestamp(Timestamp::new(date(expires), meta), &[&key(ONLINE)]).unwrap();
    (repository, first)
}

fn serve(repository: &Repository) -> impl Fetch {
    |file: File<'_>, _: u64| -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(match file {
            File::Metadata(path) => repository.metadata.get(path).cloned(),
            File::Target(path) => repository.targets.get(path).cloned(),
        })
    }
}

#[test]
fn what_is_published_is_what_a_client_accepts() {
    for consistent in [true, false] {
        let (repository, first) = published(consistent, NOW + 30 * DAY);
        let mut machine = Machine::with_root(&first);
        for (path, content) in [("top.txt", "top"), (DELEGATED_PATH, "delegated")] {
            machine.download(serve(&repository), path).unwrap();
            assert_eq!(machine.downloaded[path], content.as_bytes());
        }
        assert_eq!(machine.version(ROOT), Some(2));
        let has_version = repository.metadata.contains_key("1.channel%2Falpha.json");
        assert_eq!(has_version, consistent, "{:?}", repository.metadata.keys());
        let trusted = machine.refresh(serve(&repository)).unwrap();
        assert_eq!(trusted.targets.delegations.unwrap().roles[0].name, "channel/alpha");
    }
}

#[test]
fn nothing_is_published_that_no_client_would_accept() {
    let (mut repository, _) = published(true, NOW + 30 * DAY);
    let files = repository.metadata.len();
    let mut root = repository.root().unwrap();
    let by = |repository: &mut Repository, root: &Root, keys: &[u8]| {
        let keys: Vec<_> = keys.iter().map(|number| key(*number)).collect();
        let keys: Vec<_> = keys.iter().map(|key| key as &dyn Signer).collect();
        repository.publish_root(root.clone(), &keys).unwrap_err().to_string()
    };
    assert_eq!(by(&mut repository, &root, &[2, 3]), "version 2, expected 3");
    root.header.version = number(3);
    assert_eq!(by(&mut repository, &root, &[1, 2]), "signed by 1 of 2 keys of role root");
    set_keys(&mut root, &[8, 9]);
    assert_eq!(by(&mut repository, &root, &[8, 9]), "signed by 0 of 2 keys of role root");
    let targets = Targets::new(date(NOW));
    let result = repository.publish_targets(TARGETS, targets.clone(), None, &[&key(ONLINE)]);
    assert_eq!(result.unwrap_err().to_string(), "signed by 0 of 1 keys of role targets");
    let result = repository.publish_targets("unknown", targets.clone(), Some(&targets), &[&key(ONLINE)]);
    assert!(matches!(result, Err(PublishError::NotDelegated(role)) if role == "unknown"));
    let other = repository.add_target("a", &TargetFile::of(b"a"), b"b").unwrap_err();
    assert!(matches!(other, PublishError::Target(_)), "{other:?}");
    let outside = repository.add_target("../a", &TargetFile::of(b"a"), b"a").unwrap_err();
    assert!(outside.to_string().contains("target path `../a`"), "{outside}");
    let timestamp = Timestamp::new(date(NOW), MetaFile::version(number(1)));
    repository.publish_timestamp(timestamp, &[&key(TOP_TARGETS)]).unwrap_err();
    assert_eq!(repository.metadata.len(), files);
}

#[test]
fn expired_metadata_is_refused_with_its_date() {
    let (repository, first) = published(true, NOW);
    let error = Machine::with_root(&first).refresh(serve(&repository)).unwrap_err();
    assert_eq!(chain(&error), "cannot accept 2.root.json: expired at 2027-01-15T08:00:00Z");
}

#[test]
fn root_keys_in_separate_places_sign_one_after_the_other() {
    let (mut repository, first) = published(true, NOW + 30 * DAY);
    let mut root = repository.root().unwrap();
    root.header.version = number(3);
    root.extra.insert("note".to_owned(), "kept".into());
    let mut file = serde_json::to_value(sign(root, &[&key(2)]).unwrap()).unwrap();
    // Fields that are absent remain absent: they are part of what is signed.
    file["signed"].as_object_mut().unwrap().remove("consistent_snapshot");
    let draft = serde_json::to_vec(&file).unwrap();
    let two = add_signatures(&draft, &[&key(2)]).unwrap();
    let error = repository.publish_signed_root(two.clone()).unwrap_err();
    assert_eq!(error.to_string(), "signed by 1 of 2 keys of role root");
    let both = add_signatures(&two, &[&key(3), &key(2)]).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&both).unwrap();
    assert_eq!(file["signatures"].as_array().unwrap().len(), 2);
    assert!(file["signed"].get("consistent_snapshot").is_none() && file["signed"]["note"] == "kept");
    // Only the signature returns from the other place.
    let elsewhere = Signed::<Root>::parse(&add_signatures(&draft, &[&key(3)]).unwrap()).unwrap().signatures;
    assert_eq!(insert_signatures(&two, &elsewhere[1..]).unwrap(), add_signatures(&two, &[&key(3)]).unwrap());
    repository.publish_signed_root(both).unwrap();
    let mut machine = Machine::with_root(&first);
    machine.refresh(serve(&repository)).unwrap_err();
    assert_eq!(machine.version(ROOT), Some(3));
    for bad in
        [&b"{"[..], b"{}", b"[]", br#"{"signed":{},"signatures":1}"#, br#"{"signed":1.5,"signatures":[]}"#]
    {
        add_signatures(bad, &[&key(2)]).unwrap_err();
    }
    for bad in [&b"{"[..], b"[]", br#"{"signatures":1}"#] {
        insert_signatures(bad, &elsewhere).unwrap_err();
    }
}
