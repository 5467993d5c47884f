//! A root as a server delivers it to a machine that trusts the first one. That it is written and read as itself is a
//! property of the target `tuf_metadata`.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::sync::LazyLock;

use serde_json::Value;
use tuf::{Root, Signed, sign};
use update_core::roots::{
    MIN_THRESHOLD, Role, check, file, named_keys, replay, set_keys, signers, version, version_of,
};

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "roots",
    about: "only the root that the root keys signed is followed; a root that is published has one role for each key",
    run,
    seeds,
};

/// The second root keeps one of three root keys and is signed by two keys of each root, of which two must sign: without
/// any one of its three signatures it is not accepted. Created with random keys that were not stored, so that no other
/// root can be signed. They have to be recreated if the format changes.
const FIRST: &[u8] = include_bytes!("../../corpus/roots/first-root");
const SECOND: &[u8] = include_bytes!("../../corpus/roots/second-root");

/// The trusted root, and what its root keys signed.
struct World {
    trusted: Root,
    signed: Value,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let trusted = Root::first(FIRST).unwrap();
    let good = replay(&trusted, &[SECOND.to_vec()]);
    assert!(good.is_ok(), "{good:?}");
    World { trusted, signed: signed_part(SECOND) }
});

fn signed_part(bytes: &[u8]) -> Value {
    let mut value: Value = serde_json::from_slice(bytes).unwrap();
    value["signed"].take()
}

fn run(bytes: &[u8]) {
    let World { trusted, signed } = &*WORLD;
    if let Ok(root) = replay(trusted, &[bytes.to_vec()]) {
        // The signatures may be reordered, or have additional fields.
        assert_eq!((signed_part(bytes), version(&root)), (signed.clone(), 2));
        for signed_by in [trusted, &root] {
            assert!(signers(signed_by, bytes).unwrap().len() as u64 >= MIN_THRESHOLD);
        }
    }
    // Nobody signed a third root.
    let third = replay(trusted, &[SECOND.to_vec(), bytes.to_vec()]);
    assert!(third.is_err(), "{third:?}");
    let Ok(Signed { signed: root, .. }) = Signed::<Root>::parse(bytes) else { return };
    assert_eq!(version_of(&file(version(&root))), Some(version(&root)));
    if check(&root).is_ok() {
        let roots = named_keys(&root, Role::Root);
        assert!((MIN_THRESHOLD..=roots.len() as u64).contains(&root.roles.root.threshold.get()));
        let mut keys = BTreeSet::new();
        for named in Role::ALL.into_iter().flat_map(|role| named_keys(&root, role)) {
            assert!(keys.insert(named.key.identity().unwrap()), "{} has two roles", named.name);
        }
        let known: BTreeSet<_> = roots.into_iter().map(|named| named.name).collect();
        assert!(signers(&root, bytes).unwrap().iter().all(|name| known.contains(name)));
    }
}

/// Roots that break one rule each. Signed roots are in the corpus: signatures cannot be regenerated.
fn seeds() -> Vec<Vec<u8>> {
    let trusted = &WORLD.trusted;
    let [mut one_key, mut two_roles, mut too_few, mut no_key] = std::array::from_fn(|_| trusted.clone());
    one_key.roles.root.threshold = NonZeroU64::MIN;
    set_keys(&mut two_roles, Role::Channel, &named_keys(trusted, Role::Release), NonZeroU64::MIN);
    too_few.roles.root.threshold = NonZeroU64::MAX;
    no_key.keys.retain(|id, _| !trusted.roles.root.keyids[1..].contains(id));
    [one_key, two_roles, too_few, no_key]
        .into_iter()
        .map(|root| sign(root, &[]).unwrap().to_bytes().unwrap())
        .collect()
}
