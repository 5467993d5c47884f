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

fn step(set: &KeySet, signers: &[&KeyPair]) -> Step {
    let bytes = set.to_bytes().unwrap();
    signed(bytes, signers)
}

fn signed(bytes: Vec<u8>, signers: &[&KeyPair]) -> Step {
    let sign =
        |pair: &&KeyPair| minisign::sign(None, &pair.sk, &*bytes, Some("t"), None).unwrap().to_string();
    let signatures = signers.iter().map(sign).collect();
    Step { bytes, signatures }
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

    fn refuses(&self, steps: &[Step]) -> String {
        follow(&self.set(1), steps, CLOCK).unwrap_err().to_string()
    }
}

#[track_caller]
fn says(text: &str, expect: &str) {
    assert!(text.contains(expect), "{text}");
}

#[test]
fn a_set_that_two_of_three_signed_is_followed() {
    let world = World::new();
    let [one, two, three] = &world.old;
    let next = world.set(2);
    for signers in [[one, two], [three, one], [two, three]] {
        assert_eq!(follow(&world.set(1), &[step(&next, &signers)], CLOCK).unwrap(), next);
    }
    assert_eq!(follow(&world.set(1), &[], CLOCK).unwrap(), world.set(1));
}

#[test]
fn one_root_key_is_never_enough_however_often_it_signs() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let next = world.set(2);
    let wants = "key set 2 wants 2 root keys of set 1 that signed it, and has ";
    says(&world.refuses(&[step(&next, &[])]), &format!("{wants}none"));
    says(&world.refuses(&[step(&next, &[one])]), &format!("{wants}one"));
    says(&world.refuses(&[step(&next, &[one, one, one])]), &format!("{wants}one"));
    // Keys for releases and channels are not root keys, nor are unknown keys.
    says(&world.refuses(&[step(&next, &[one, &world.online[0], &world.new[0]])]), &format!("{wants}one"));
    // Both signed, but another text.
    let bad = Step { signatures: step(&world.set(3), &[one, two]).signatures, ..step(&next, &[]) };
    says(&world.refuses(&[bad]), &format!("{wants}none"));
}

#[test]
fn new_root_keys_need_the_old_ones_and_have_to_sign_themselves() {
    let world = World::new();
    let ([one, two, _], [four, five]) = (&world.old, &world.new);
    let next = world.with_new_roots(2);
    let accepted = follow(&world.set(1), &[step(&next, &[one, two, four])], CLOCK).unwrap();
    assert_eq!(accepted, next);
    says(
        &world.refuses(&[step(&next, &[one, four, five])]),
        "2 root keys of set 1 that signed it, and has one",
    );
    says(&world.refuses(&[step(&next, &[one, two])]), "2 root keys of set 2 that signed it, and has one");
    // From then on the old keys are not trusted.
    let last = KeySet { epoch: 3, ..next.clone() };
    let taken_away = [step(&next, &[one, two, four]), step(&last, &[one, two])];
    says(&world.refuses(&taken_away), "key set 3 wants 2 root keys of set 2 that signed it, and has one");
}

#[test]
fn sets_come_one_after_the_other() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let signed = |epoch: u64| step(&world.set(epoch), &[one, two]);
    let last = follow(&world.set(1), &[signed(2), signed(3), signed(4)], CLOCK).unwrap();
    assert_eq!(last, world.set(4));
    let follows = "comes 2, and this is ";
    says(&world.refuses(&[signed(3)]), &format!("{follows}3"));
    says(&world.refuses(&[signed(1)]), &format!("{follows}1"));
    says(&world.refuses(&[signed(2), signed(4)]), "behind key set 2 comes 3, and this is 4");
    says(&world.refuses(&[signed(2), signed(2)]), "comes 3, and this is 2");
    // A machine at epoch 3 does not go back to 2.
    let error = follow(&world.set(3), &[signed(2)], CLOCK).unwrap_err().to_string();
    says(&error, "behind key set 3 comes 4, and this is 2");
}

#[test]
fn a_chain_is_taken_whole_or_not_at_all() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let signed = |epoch: u64| step(&world.set(epoch), &[one, two]);
    says(&world.refuses(&[signed(2), step(&world.set(3), &[one])]), "key set 3 wants 2");
    let many: Vec<_> = std::iter::repeat_n(signed(2), MAX_STEPS + 1).collect();
    says(&world.refuses(&many), "65 key sets at once are too many");
}

#[test]
fn the_last_set_has_to_be_in_date_and_those_on_the_way_need_not() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let old = KeySet { issued: BUILT - 2, expires: BUILT - 1, ..world.set(2) };
    let signed = step(&old, &[one, two]);
    says(&world.refuses(std::slice::from_ref(&signed)), "key set 2 counted until 999999");
    let chain = [signed.clone(), step(&world.set(3), &[one, two])];
    assert_eq!(follow(&world.set(1), &chain, CLOCK).unwrap(), world.set(3));
    // The current set may be expired, too: the next one resolves that.
    assert_eq!(follow(&old, &chain[1..], CLOCK).unwrap(), world.set(3));
    // With a wrong clock, expiry is not checked.
    follow(&world.set(1), &[signed], Clock { now: 5, build_time: BUILT }).unwrap();
}

#[test]
fn what_is_no_set_is_refused_whoever_signed_it() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let good = step(&world.set(2), &[one, two]);
    for at in 0..good.bytes.len() {
        let mut bad = good.clone();
        bad.bytes[at] ^= 1;
        says(&world.refuses(&[bad]), "and has none");
    }
    let by_both = |bytes: Vec<u8>| world.refuses(&[signed(bytes, &[one, two])]);
    says(&by_both(b"garbage".to_vec()), "key set 2: keys.json, line 1");
    says(&by_both(vec![b' '; MAX_KEY_SET + 1]), "16385 bytes; 16384 are the most");
    let text = String::from_utf8(good.bytes.clone()).unwrap();
    says(&by_both(text.replacen("\"threshold\": 2", "\"threshold\": 1", 1).into_bytes()), "the least");
    says(&by_both(text.replacen("\"root\"", "\"roots\"", 1).into_bytes()), "unknown field `roots`");
    let bad = Step { signatures: "nonsense".into(), ..good.clone() };
    says(&world.refuses(&[bad]), "the signatures of key set 2: the signature is not in minisign's format");
    let long = Step { signatures: good.signatures.repeat(40), ..good };
    says(&world.refuses(&[long]), "more than 16384 bytes");
}

#[test]
fn the_newer_one_counts_and_the_image_s_where_both_are_as_new() {
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
