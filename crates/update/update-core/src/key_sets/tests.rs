//! Stolen keys, mistakes and hostile servers.

use minisign::KeyPair;
use release::{KeyText, MAX_KEY_SET, NamedKey, SCHEMA};

use super::*;

const BUILT: u64 = 1_000_000;
const DAY: u64 = 86_400;
const CLOCK: Clock = Clock { now: BUILT + DAY, build_time: BUILT };

/// Two generations of root keys that share one key, and keys for releases and channels.
struct World {
    old: [KeyPair; 3],
    new: [KeyPair; 2],
    online: Vec<KeyPair>,
}

fn named(name: &str, pair: &KeyPair) -> NamedKey {
    let key = KeyText::of_file(&pair.pk.to_box().unwrap().to_string()).unwrap();
    NamedKey { name: name.parse().unwrap(), key }
}

fn sign_set(set: &KeySet, signers: &[&KeyPair]) -> SignedKeySet {
    let bytes = set.to_bytes().unwrap();
    signed(bytes, signers)
}

fn signed(bytes: Vec<u8>, signers: &[&KeyPair]) -> SignedKeySet {
    let sign =
        |pair: &&KeyPair| minisign::sign(None, &pair.sk, &*bytes, Some("t"), None).unwrap().to_string();
    let signatures = signers.iter().map(sign).collect();
    SignedKeySet { bytes, signatures }
}

impl World {
    fn new() -> Self {
        let pair = || KeyPair::generate_unencrypted_keypair().unwrap();
        Self {
            old: std::array::from_fn(|_| pair()),
            new: std::array::from_fn(|_| pair()),
            online: (0..6).map(|_| pair()).collect(),
        }
    }

    /// Each set has its own release key.
    fn set(&self, epoch: u64) -> KeySet {
        let [one, two, three] = &self.old;
        let number = usize::try_from(epoch).unwrap() - 1;
        KeySet {
            schema: SCHEMA,
            epoch,
            issued: BUILT,
            expires: BUILT + 100 * DAY,
            threshold: 2,
            root: vec![named("one", one), named("two", two), named("three", three)],
            release: vec![named("own", &self.online[number])],
            channel: vec![named("own", &self.online[5])],
        }
    }

    /// Replaces two lost root keys.
    fn with_new_roots(&self, epoch: u64) -> KeySet {
        let [four, five] = &self.new;
        let root = vec![named("one", &self.old[0]), named("four", four), named("five", five)];
        KeySet { root, ..self.set(epoch) }
    }

    fn rejection(&self, chain: &[SignedKeySet]) -> String {
        verify_chain(&self.set(1), chain, CLOCK).unwrap_err().to_string()
    }
}

#[track_caller]
fn assert_contains(text: &str, expect: &str) {
    assert!(text.contains(expect), "{text}");
}

#[test]
fn a_set_with_two_of_three_signatures_is_accepted() {
    let world = World::new();
    let [one, two, three] = &world.old;
    let next = world.set(2);
    for signers in [[one, two], [three, one], [two, three]] {
        assert_eq!(verify_chain(&world.set(1), &[sign_set(&next, &signers)], CLOCK).unwrap(), next);
    }
    assert_eq!(verify_chain(&world.set(1), &[], CLOCK).unwrap(), world.set(1));
}

#[test]
fn one_root_key_never_reaches_the_threshold() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let next = world.set(2);
    let wants = "key set 2 needs signatures by 2 root keys of set 1, and has ";
    assert_contains(&world.rejection(&[sign_set(&next, &[])]), &format!("{wants}none"));
    assert_contains(&world.rejection(&[sign_set(&next, &[one])]), &format!("{wants}one"));
    assert_contains(&world.rejection(&[sign_set(&next, &[one, one, one])]), &format!("{wants}one"));
    // Keys for releases and channels are not root keys, nor are unknown keys.
    assert_contains(
        &world.rejection(&[sign_set(&next, &[one, &world.online[0], &world.new[0]])]),
        &format!("{wants}one"),
    );
    // Both signed, but another text.
    let bad =
        SignedKeySet { signatures: sign_set(&world.set(3), &[one, two]).signatures, ..sign_set(&next, &[]) };
    assert_contains(&world.rejection(&[bad]), &format!("{wants}none"));
}

#[test]
fn new_root_keys_need_old_and_own_signatures() {
    let world = World::new();
    let ([one, two, _], [four, five]) = (&world.old, &world.new);
    let next = world.with_new_roots(2);
    let accepted = verify_chain(&world.set(1), &[sign_set(&next, &[one, two, four])], CLOCK).unwrap();
    assert_eq!(accepted, next);
    assert_contains(
        &world.rejection(&[sign_set(&next, &[one, four, five])]),
        "2 root keys of set 1, and has one",
    );
    assert_contains(&world.rejection(&[sign_set(&next, &[one, two])]), "2 root keys of set 2, and has one");
    // From then on the old keys are not trusted.
    let last = KeySet { epoch: 3, ..next.clone() };
    let taken_away = [sign_set(&next, &[one, two, four]), sign_set(&last, &[one, two])];
    assert_contains(
        &world.rejection(&taken_away),
        "key set 3 needs signatures by 2 root keys of set 2, and has one",
    );
}

#[test]
fn epochs_are_consecutive() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let signed = |epoch: u64| sign_set(&world.set(epoch), &[one, two]);
    let last = verify_chain(&world.set(1), &[signed(2), signed(3), signed(4)], CLOCK).unwrap();
    assert_eq!(last, world.set(4));
    let follows = "followed by set 2, not by ";
    assert_contains(&world.rejection(&[signed(3)]), &format!("{follows}3"));
    assert_contains(&world.rejection(&[signed(1)]), &format!("{follows}1"));
    assert_contains(
        &world.rejection(&[signed(2), signed(4)]),
        "key set 2 must be followed by set 3, not by 4",
    );
    assert_contains(&world.rejection(&[signed(2), signed(2)]), "followed by set 3, not by 2");
    // A machine at epoch 3 does not go back to 2.
    let error = verify_chain(&world.set(3), &[signed(2)], CLOCK).unwrap_err().to_string();
    assert_contains(&error, "key set 3 must be followed by set 4, not by 2");
}

#[test]
fn a_chain_is_accepted_completely_or_not_at_all() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let signed = |epoch: u64| sign_set(&world.set(epoch), &[one, two]);
    assert_contains(
        &world.rejection(&[signed(2), sign_set(&world.set(3), &[one])]),
        "key set 3 needs signatures by 2",
    );
    let many: Vec<_> = std::iter::repeat_n(signed(2), MAX_STEPS + 1).collect();
    assert_contains(&world.rejection(&many), "too many key sets: 65");
}

#[test]
fn only_the_last_set_must_not_be_expired() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let old = KeySet { issued: BUILT - 2, expires: BUILT - 1, ..world.set(2) };
    let signed = sign_set(&old, &[one, two]);
    assert_contains(&world.rejection(std::slice::from_ref(&signed)), "key set 2 expired at 999999");
    let chain = [signed.clone(), sign_set(&world.set(3), &[one, two])];
    assert_eq!(verify_chain(&world.set(1), &chain, CLOCK).unwrap(), world.set(3));
    // The current set may be expired, too: the next one resolves that.
    assert_eq!(verify_chain(&old, &chain[1..], CLOCK).unwrap(), world.set(3));
    // With a wrong clock, expiry is not checked.
    verify_chain(&world.set(1), &[signed], Clock { now: 5, build_time: BUILT }).unwrap();
}

#[test]
fn invalid_sets_are_rejected_whoever_signed_them() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let good = sign_set(&world.set(2), &[one, two]);
    for at in 0..good.bytes.len() {
        let mut bad = good.clone();
        bad.bytes[at] ^= 1;
        assert_contains(&world.rejection(&[bad]), "and has none");
    }
    let by_both = |bytes: Vec<u8>| world.rejection(&[signed(bytes, &[one, two])]);
    assert_contains(&by_both(b"garbage".to_vec()), "key set 2: keys.json, line 1");
    assert_contains(&by_both(vec![b' '; MAX_KEY_SET + 1]), "16385 bytes; the maximum is 16384");
    let text = String::from_utf8(good.bytes.clone()).unwrap();
    assert_contains(
        &by_both(text.replacen("\"threshold\": 2", "\"threshold\": 1", 1).into_bytes()),
        "must be at least 2",
    );
    assert_contains(
        &by_both(text.replacen("\"root\"", "\"roots\"", 1).into_bytes()),
        "unknown field `roots`",
    );
    let bad = SignedKeySet { signatures: "nonsense".into(), ..good.clone() };
    assert_contains(
        &world.rejection(&[bad]),
        "invalid signatures of key set 2: the signature is not in minisign's format",
    );
    let long = SignedKeySet { signatures: good.signatures.repeat(40), ..good };
    assert_contains(&world.rejection(&[long]), "more than 16384 bytes");
}

#[test]
fn the_newer_set_wins_and_the_image_wins_a_tie() {
    let world = World::new();
    let [one, two] = [world.set(1), world.set(2)];
    let image = || Some(two.clone());
    assert_eq!(newer(image(), Some(one.clone())), image());
    assert_eq!(newer(Some(one.clone()), image()), image());
    assert_eq!(newer(image(), None), image());
    assert_eq!(newer(None, image()), image());
    assert_eq!(newer(None, None), None);
    let other = KeySet { issued: BUILT + 1, ..two.clone() };
    assert_eq!(newer(image(), Some(other)), image());
}
