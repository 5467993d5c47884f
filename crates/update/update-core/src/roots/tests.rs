//! Stolen keys, mistakes and hostile servers.

use tuf::{Date, Ed25519Signer, Signer, sign};

use super::*;

const BUILT: u64 = 1_000_000;
const DAY: u64 = 86_400;

/// Two generations of root keys that share one key, and keys for releases and channels.
struct World {
    old: [Pair; 3],
    new: [Pair; 2],
    online: Vec<Pair>,
}

/// A key pair under the id that a root lists, which covers the key's name.
pub struct Pair {
    named: NamedKey,
    signer: Ed25519Signer,
}

impl Signer for Pair {
    fn key(&self) -> &Key {
        &self.named.key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        self.signer.sign(message)
    }
}

pub fn signer(name: &str, seed: u8) -> Pair {
    let signer = Ed25519Signer::from_seed(&[seed; 32]).unwrap();
    let public: PublicKeyBytes = signer.key().identity().unwrap().try_into().unwrap();
    Pair { named: NamedKey::new(name.parse().unwrap(), &public), signer }
}

pub fn named(signers: &[&Pair]) -> Vec<NamedKey> {
    signers.iter().map(|signer| signer.named.clone()).collect()
}

fn signed(root: &Root, signers: &[&Pair]) -> Vec<u8> {
    let signers: Vec<&dyn Signer> = signers.iter().map(|signer| *signer as &dyn Signer).collect();
    sign(root.clone(), &signers).unwrap().to_bytes().unwrap()
}

fn at_least(count: u64) -> NonZeroU64 {
    NonZeroU64::new(count).unwrap()
}

impl World {
    fn new() -> Self {
        Self {
            old: [signer("one", 1), signer("two", 2), signer("three", 3)],
            new: [signer("four", 4), signer("five", 5)],
            online: (10..16).map(|seed| signer("own", seed)).collect(),
        }
    }

    /// Each root has its own release key.
    fn root(&self, version: u64) -> Root {
        let [one, two, three] = &self.old;
        let number = usize::try_from(version).unwrap() - 1;
        let expires = Date::from_unix(i64::try_from(BUILT + 100 * DAY).unwrap()).unwrap();
        let mut root = Root::new(expires, true);
        root.header.version = at_least(version);
        set_keys(&mut root, Role::Root, &named(&[one, two, three]), at_least(2));
        set_keys(&mut root, Role::Release, &named(&[&self.online[number]]), at_least(1));
        set_keys(&mut root, Role::Channel, &named(&[&self.online[5]]), at_least(1));
        root
    }

    /// Replaces two lost root keys.
    fn with_new_roots(&self, version: u64) -> Root {
        let [four, five] = &self.new;
        let mut root = self.root(version);
        set_keys(&mut root, Role::Root, &named(&[&self.old[0], four, five]), at_least(2));
        root
    }

    fn rejection(&self, chain: &[Vec<u8>]) -> String {
        refusal(replay(&self.root(1), chain))
    }
}

fn refusal(outcome: Result<Root, Error>) -> String {
    let Error { file, cause } = outcome.unwrap_err();
    format!("{file}: {cause}")
}

fn expiring(mut root: Root, expires: u64) -> Root {
    root.header.expires = Date::from_unix(i64::try_from(expires).unwrap()).unwrap();
    root
}

#[track_caller]
fn assert_contains(text: &str, expect: &str) {
    assert!(text.contains(expect), "{text}");
}

#[test]
fn a_root_with_two_of_three_signatures_is_accepted() {
    let world = World::new();
    let [one, two, three] = &world.old;
    let next = world.root(2);
    for signers in [[one, two], [three, one], [two, three]] {
        assert_eq!(replay(&world.root(1), &[signed(&next, &signers)]).unwrap(), next);
    }
    assert_eq!(replay(&world.root(1), &[]).unwrap(), world.root(1));
}

#[test]
fn one_root_key_never_reaches_the_threshold() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let next = world.root(2);
    let signed_by = |count: usize| format!("2.root.json: signed by {count} of 2 keys of role root");
    assert_contains(&world.rejection(&[signed(&next, &[])]), &signed_by(0));
    assert_contains(&world.rejection(&[signed(&next, &[one])]), &signed_by(1));
    // Under another name, and so under another id.
    let twin = signer("two", 1);
    assert_contains(&world.rejection(&[signed(&next, &[one, &twin])]), &signed_by(1));
    // Keys for releases and channels are not root keys, nor are unknown keys.
    assert_contains(
        &world.rejection(&[signed(&next, &[one, &world.online[0], &world.new[0]])]),
        &signed_by(1),
    );
    // Both signed, but another root.
    let text = String::from_utf8(signed(&world.root(3), &[one, two])).unwrap();
    let moved = text.replacen("\"version\": 3", "\"version\": 2", 1);
    assert_contains(&world.rejection(&[moved.into_bytes()]), &signed_by(0));
}

#[test]
fn new_root_keys_need_old_and_own_signatures() {
    let world = World::new();
    let ([one, two, _], [four, five]) = (&world.old, &world.new);
    let next = world.with_new_roots(2);
    assert_eq!(replay(&world.root(1), &[signed(&next, &[one, two, four])]).unwrap(), next);
    assert_contains(&world.rejection(&[signed(&next, &[one, four, five])]), "signed by 1 of 2 keys");
    assert_contains(&world.rejection(&[signed(&next, &[one, two])]), "signed by 1 of 2 keys");
    // From then on the old keys are not trusted.
    let last = world.with_new_roots(3);
    let taken_away = [signed(&next, &[one, two, four]), signed(&last, &[one, two])];
    assert_contains(&world.rejection(&taken_away), "3.root.json: signed by 1 of 2 keys");
}

#[test]
fn versions_are_consecutive() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let signed = |version: u64| signed(&world.root(version), &[one, two]);
    let last = replay(&world.root(1), &[signed(2), signed(3), signed(4)]).unwrap();
    assert_eq!(last, world.root(4));
    assert_contains(&world.rejection(&[signed(3)]), "2.root.json: version 3, expected 2");
    assert_contains(&world.rejection(&[signed(1)]), "version 1, expected 2");
    assert_contains(&world.rejection(&[signed(2), signed(4)]), "3.root.json: version 4, expected 3");
    assert_contains(&world.rejection(&[signed(2), signed(2)]), "version 2, expected 3");
    // A machine with root 3 does not go back to 2.
    assert_contains(&refusal(replay(&world.root(3), &[signed(2)])), "version 2, expected 4");
}

/// Whether the last one may be used is for the client to decide.
#[test]
fn expired_roots_lead_to_later_ones() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let old = expiring(world.root(2), BUILT - 1);
    let first = signed(&old, &[one, two]);
    assert_eq!(expires(&replay(&world.root(1), std::slice::from_ref(&first)).unwrap()), BUILT - 1);
    let chain = [first, signed(&world.root(3), &[one, two])];
    assert_eq!(replay(&world.root(1), &chain).unwrap(), world.root(3));
}

/// Whitespace is not signed; anything else is.
#[test]
fn a_changed_root_is_rejected_or_the_same() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let good = signed(&world.root(2), &[one, two]);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        if let Ok(root) = replay(&world.root(1), &[bad]) {
            assert_eq!(root, world.root(2));
        }
    }
    for length in 0..good.len() - 1 {
        replay(&world.root(1), &[good[..length].to_vec()]).unwrap_err();
    }
    assert_contains(&world.rejection(&[b"garbage".to_vec()]), "2.root.json: line 1");
}

#[test]
fn rules_go_beyond_those_of_the_specification() {
    let world = World::new();
    let [one, two, three] = &world.old;
    let check = |change: &dyn Fn(&mut Root), expect: &str| {
        let mut root = world.root(1);
        change(&mut root);
        // TUF accepts it.
        tuf::Signed::<Root>::parse(&signed(&root, &[one])).unwrap();
        assert_contains(&super::check(&root).unwrap_err().to_string(), expect);
    };
    super::check(&world.root(1)).unwrap();
    super::check(&world.with_new_roots(1)).unwrap();
    let roots = named(&[one, two, three]);
    check(&|root| set_keys(root, Role::Root, &roots, at_least(1)), "threshold of root: must be at least 2");
    check(&|root| set_keys(root, Role::Root, &roots, at_least(4)), "greater than the number of keys, 3");
    check(&|root| set_keys(root, Role::Release, &[], at_least(1)), "release: must have 1 to 16 keys");
    let many: Vec<_> = (20..37).map(|seed| signer(&format!("k{seed}"), seed)).collect();
    let many = named(&many.iter().collect::<Vec<_>>());
    check(&|root| set_keys(root, Role::Release, &many, at_least(1)), "release: must have 1 to 16 keys");
    check(
        &|root| set_keys(root, Role::Channel, &named(&[&signer("online", 1)]), at_least(1)),
        "`one` and channel `online` are the same key",
    );
    check(
        &|root| set_keys(root, Role::Root, &named(&[one, two, &signer("two", 3)]), at_least(2)),
        "two root keys have the name `two`",
    );
    let own = named(&[&world.online[0]]);
    let online = named(&[&world.online[4], &world.online[5]]);
    check(
        &|root| set_keys(root, Role::Release, &own, at_least(2)),
        "threshold of targets: greater than the number of keys, 1",
    );
    check(&|root| set_keys(root, Role::Channel, &online, at_least(2)), "threshold of timestamp: must be 1");
    check(&|root| root.roles.snapshot.keyids.clear(), "snapshot: must have the channel keys");
    let mut strange = named(&[&world.online[0]]);
    strange[0].key.scheme = "md5".to_owned();
    check(
        &|root| set_keys(root, Role::Release, &strange, at_least(1)),
        "release `own` is of an unknown type",
    );
}

#[test]
fn the_signers_of_a_root_have_names() {
    let world = World::new();
    let [one, two, _] = &world.old;
    let bytes = signed(&world.root(2), &[two, &world.online[0], one]);
    let names: Vec<_> = signers(&world.root(1), &bytes).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["two", "one"]);
    assert_eq!(file(12), "12.root.json");
    assert_eq!(version_of("12.root.json"), Some(12));
    for bad in ["root.json", "012.root.json", "+1.root.json", "1.root.json.sig", "x.root.json"] {
        assert_eq!(version_of(bad), None, "{bad}");
    }
}
