//! Signed key sets as servers deliver them: the set, a zero byte, and its signatures.

use std::sync::LazyLock;

use release::{KeySet, MIN_THRESHOLD, Role};
use update_core::key_sets::{Clock, SignedKeySet, verify_chain};

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "key_sets",
    about: "a set is written and read as itself, or an error with its place; only what the root keys signed is followed",
    run,
    seeds,
};

/// Created with `keelson keys` and `keelson keys rotate`; the secret keys were deleted, so that no other set can be
/// signed. They have to be recreated if the format changes.
const TRUSTED: &[u8] = include_bytes!("../../corpus/key_sets/first-set");
const SIGNED: &[u8] = include_bytes!("../../corpus/key_sets/second-set-and-its-signatures");

/// The trusted set, and the one set that its root keys signed.
struct World {
    trusted: KeySet,
    next: SignedKeySet,
    clock: Clock,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let trusted = KeySet::parse(TRUSTED).unwrap();
    let clock = Clock { now: trusted.issued, build_time: trusted.issued };
    let next = step(SIGNED);
    let good = verify_chain(&trusted, std::slice::from_ref(&next), clock);
    assert!(good.is_ok(), "{good:?}");
    World { trusted, next, clock }
});

fn step(bytes: &[u8]) -> SignedKeySet {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default().to_vec();
    SignedKeySet { bytes: part(), signatures: String::from_utf8_lossy(&part()).into_owned() }
}

fn run(bytes: &[u8]) {
    if let Ok(set) = KeySet::parse(bytes) {
        assert_eq!(set.to_bytes().and_then(|bytes| KeySet::parse(&bytes)), Ok(set.clone()));
        assert!((MIN_THRESHOLD..=set.root.len()).contains(&set.threshold));
        let all: Vec<_> = Role::ALL.into_iter().flat_map(|role| set.named_keys(role)).collect();
        for (at, key) in all.iter().enumerate() {
            assert!(!all.iter().skip(at + 1).any(|other| other.key.is_same_key(&key.key)), "{}", key.name);
        }
        assert_eq!(set.signed_by(bytes, "").unwrap(), Vec::<&release::FileName>::new());
    }
    let World { trusted, next, clock } = &*WORLD;
    let step = step(bytes);
    if let Ok(set) = verify_chain(trusted, std::slice::from_ref(&step), *clock) {
        // The signatures may be reordered, or have additional fields.
        assert_eq!((step.bytes, set.epoch), (next.bytes.clone(), 2));
    }
}

/// The corpus contains all inputs: signatures cannot be regenerated.
fn seeds() -> Vec<Vec<u8>> {
    Vec::new()
}
