//! The Update Framework's metadata, as a server delivers it: each input is parsed as every role, and then served to a
//! client under each name.

use std::sync::LazyLock;

use tuf::{
    Client, Date, Ed25519Signer, File, Limits, MemoryStore, MetaFile, Paths, Repository, Root, Signed,
    Signer, Snapshot, Store, TargetFile, Targets, Timestamp, role_type,
};

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "tuf_metadata",
    about: "metadata is written and read as itself, or an error with its place; a client accepts what was signed only",
    run,
    seeds,
};

const NOW: i64 = 1_800_000_000;
const PATH: &str = "releases/1.2.3/release.json";

struct World {
    repository: Repository,
    first_root: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = |number: u8| Ed25519Signer::from_seed(&[number; 32]).unwrap();
    let [root_key, targets_key, online, delegated_key] = [1, 2, 3, 4].map(key);
    let expires = Date::from_unix(NOW + 1).unwrap();
    let one = std::num::NonZeroU64::MIN;
    let mut root = Root::new(expires, true);
    for (role, key) in [
        (role_type::ROOT, &root_key),
        (role_type::TARGETS, &targets_key),
        (role_type::SNAPSHOT, &online),
        (role_type::TIMESTAMP, &online),
    ] {
        root.set_keys(role, &[key.key()], one);
    }
    let mut repository = Repository::default();
    let first_root = repository.publish_root(root.clone(), &[&root_key]).unwrap();
    root.header.version = one.saturating_add(1);
    repository.publish_root(root, &[&root_key]).unwrap();
    let mut targets = Targets::new(expires);
    targets.delegate(
        "a?",
        &[delegated_key.key()],
        one,
        true,
        Paths::Patterns(vec!["releases/*/[!x]*".to_owned()]),
    );
    targets.delegate("b", &[delegated_key.key()], one, false, Paths::HashPrefixes(vec!["0".to_owned()]));
    let mut delegated = Targets::new(expires);
    delegated.targets.insert(PATH.to_owned(), TargetFile::of(b"good"));
    let mut snapshot = Snapshot::new(expires);
    let publish = repository.publish_targets("a?", delegated, Some(&targets), &[&delegated_key]);
    snapshot.list("a?", publish.unwrap());
    let top = repository.publish_targets(role_type::TARGETS, targets, None, &[&targets_key]).unwrap();
    // Without digests: they would refuse every input before its signatures are verified.
    snapshot.list(role_type::TARGETS, MetaFile::version(top.version));
    let meta = repository.publish_snapshot(snapshot, &[&online]).unwrap();
    let timestamp = Timestamp::new(expires, MetaFile::version(meta.version));
    repository.publish_timestamp(timestamp, &[&online]).unwrap();
    World { repository, first_root }
});

/// What signatures cover: the metadata, without its envelope.
fn signed_part(bytes: &[u8]) -> serde_json::Value {
    let mut value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    value["signed"].take()
}

/// Updates a client whose server delivers `bytes` as `name`. All that it accepts is what was signed.
fn update(name: &str, bytes: &[u8]) -> bool {
    let World { repository, first_root } = &*WORLD;
    let fetch =
        |file: File<'_>, _: u64| -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
            Ok(match file {
                File::Metadata(path) if path == name => Some(bytes.to_vec()),
                File::Metadata(path) => repository.metadata.get(path).cloned(),
                File::Target(_) => None,
            })
        };
    let mut store = MemoryStore::default();
    assert!(store.write(role_type::ROOT, first_root).is_ok());
    let mut client = Client::new(fetch, store, Limits::default(), NOW);
    let result = client.refresh().and_then(|trusted| client.find(&trusted, PATH));
    let store = client.into_store();
    for (role, accepted) in &store.0 {
        let end = format!("{}.json", tuf::quoted_role(role));
        let known = repository.metadata.iter().filter(|(name, _)| name.ends_with(&end));
        let accepted = signed_part(accepted);
        assert!(known.into_iter().any(|(_, bytes)| signed_part(bytes) == accepted), "{role}");
    }
    result.is_ok_and(|target| target.is_some())
}

fn run(bytes: &[u8]) {
    if let Ok(root) = Signed::<Root>::parse(bytes) {
        assert_eq!(root.to_bytes().and_then(|bytes| Signed::parse(&bytes)), Ok(root));
    }
    if let Ok(timestamp) = Signed::<Timestamp>::parse(bytes) {
        assert_eq!(timestamp.to_bytes().and_then(|bytes| Signed::parse(&bytes)), Ok(timestamp));
    }
    if let Ok(snapshot) = Signed::<Snapshot>::parse(bytes) {
        assert_eq!(snapshot.to_bytes().and_then(|bytes| Signed::parse(&bytes)), Ok(snapshot));
    }
    if let Ok(targets) = Signed::<Targets>::parse(bytes) {
        assert_eq!(targets.to_bytes().and_then(|bytes| Signed::parse(&bytes)), Ok(targets.clone()));
        for role in targets.signed.delegations.iter().flat_map(|delegations| &delegations.roles) {
            assert!(!role.covers(PATH) || role.paths.is_some() || role.path_hash_prefixes.is_some());
        }
    }
    for (name, good) in &WORLD.repository.metadata {
        let accepted = update(name, bytes);
        assert!(good != bytes || accepted, "{name}");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    WORLD.repository.metadata.values().cloned().collect()
}
