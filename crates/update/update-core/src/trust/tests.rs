//! One test per row of the contract's table of attacks (5.1), and offers that must pass.

use minisign::KeyPair;
use release::{Blob, Image, Images, Payload, SCHEMA, SEGMENTS, Verity, Version};

use super::*;

const BUILT: u64 = 1_000_000;
const DAY: u64 = 86_400;

/// Version 2.0.0, for alpha and beta.
pub fn release() -> Release {
    let blob = |name: &str| Blob { url: name.parse().unwrap(), size: 10, sha256: Digest([1; 32]) };
    let verity = Verity {
        root_hash: Digest([7; 32]),
        salt: Digest([3; 32]),
        uuid: "00112233-4455-6677-8899-aabbccddeeff".to_owned(),
    };
    let image = || Image { size: 4096, sha256: Digest([4; 32]) };
    Release {
        schema: SCHEMA,
        appid: "{6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54}".to_owned(),
        board: "amd64-usr".to_owned(),
        channels: vec!["alpha".to_owned(), "beta".to_owned()],
        version: Version::new(2, 0, 0),
        epoch: 1,
        build_time: BUILT,
        expires: BUILT + 100 * DAY,
        min_from: None,
        images: Images { usr: image(), verity, uki: image() },
        full: Payload { blob: blob("full"), index: blob("full.index"), algo: SEGMENTS.to_owned() },
        deltas: Vec::new(),
        notes_url: None,
    }
}

struct World {
    release_key: KeyPair,
    channel_key: KeyPair,
    keys: TrustAnchors,
    running: Version,
    bans: Vec<Ban>,
    state: TrustState,
    now: u64,
    options: UpdateOptions,
}

impl World {
    fn new() -> Self {
        let [release_key, channel_key] =
            std::array::from_fn(|_| KeyPair::generate_unencrypted_keypair().unwrap());
        let mut keys = TrustAnchors::default();
        keys.vendor.release.add("release.pub", &release_key.pk.to_box().unwrap().to_string()).unwrap();
        keys.vendor.channel.add("channel.pub", &channel_key.pk.to_box().unwrap().to_string()).unwrap();
        Self {
            release_key,
            channel_key,
            keys,
            running: Version::new(1, 0, 0),
            bans: Vec::new(),
            state: TrustState { epoch: 1, version: Some(Version::new(1, 0, 0)), issued: BUILT, root: 0 },
            now: BUILT + DAY,
            options: UpdateOptions::default(),
        }
    }

    fn offer(&self, release: &Release) -> Offer {
        let release = release.to_bytes().unwrap();
        let release_sha256 = fake_digest(&release);
        let timestamp = self.timestamp(|timestamp| timestamp.release_sha256 = release_sha256);
        let release_signature = sign(&self.release_key, &release);
        Offer { release, release_signature, release_sha256, timestamp: Some(timestamp) }
    }

    fn timestamp(&self, change: impl Fn(&mut Timestamp)) -> (Vec<u8>, String) {
        let mut timestamp = Timestamp {
            schema: SCHEMA,
            channel: "alpha".to_owned(),
            version: Version::new(2, 0, 0),
            release_sha256: Digest([0; 32]),
            issued: BUILT + DAY,
            expires: BUILT + 8 * DAY,
        };
        change(&mut timestamp);
        let bytes = timestamp.to_bytes().unwrap();
        let signature = sign(&self.channel_key, &bytes);
        (bytes, signature)
    }

    fn verify_offer(&self, offer: &Offer) -> Result<VerifiedRelease, VerifyError> {
        verify_offer(offer, &self.keys, &self.context())
    }

    fn context(&self) -> VerifyContext<'_> {
        VerifyContext {
            appid: "6E7F4B0C-3c5e-4f0e-8f0b-2b0d6f1c9a54",
            board: "amd64-usr",
            channel: "alpha",
            running: Some(&self.running),
            now: self.now,
            build_time: BUILT,
            state: self.state.clone(),
            bans: &self.bans,
            options: self.options,
        }
    }

    /// Of the channel's timestamp without an offer.
    fn verify_timestamp(&self, change: impl Fn(&mut Timestamp)) -> Result<VerifiedTimestamp, VerifyError> {
        let (bytes, signature) = self.timestamp(change);
        verify_timestamp(&bytes, &signature, &self.keys, &self.context())
    }

    fn rejection(&self, offer: &Offer) -> String {
        self.verify_offer(offer).unwrap_err().to_string()
    }
}

/// Not a digest, but differs for different bytes, which suffices here.
fn fake_digest(bytes: &[u8]) -> Digest {
    let mut fake_digest = [0_u8; 32];
    for (at, byte) in bytes.iter().enumerate() {
        fake_digest[at % 32] = fake_digest[at % 32].rotate_left(1) ^ byte;
    }
    Digest(fake_digest)
}

fn sign(pair: &KeyPair, bytes: &[u8]) -> String {
    minisign::sign(None, &pair.sk, bytes, Some("t"), None).unwrap().to_string()
}

#[track_caller]
fn assert_contains(text: &str, expect: &str) {
    assert!(text.contains(expect), "{text}");
}

#[test]
fn a_valid_release_is_accepted_and_recorded() {
    let world = World::new();
    let accepted = world.verify_offer(&world.offer(&release())).unwrap();
    assert_eq!(accepted.release, release());
    let version = Some(Version::new(1, 0, 0));
    assert_eq!(accepted.state, TrustState { epoch: 1, version, issued: BUILT + DAY, root: 0 });
    assert!(!accepted.clock_is_wrong);
}

#[test]
fn every_changed_byte_is_detected() {
    let world = World::new();
    let good = world.offer(&release());
    for at in 0..good.release.len() {
        let mut bad = good.clone();
        bad.release[at] ^= 1;
        assert_contains(&world.rejection(&bad), "no trusted key");
    }
}

#[test]
fn keys_are_valid_for_their_role_only() {
    let world = World::new();
    let mut bad = world.offer(&release());
    bad.release_signature = sign(&world.channel_key, &bad.release);
    assert_contains(&world.rejection(&bad), "release.json: no trusted key");
    let mut bad = world.offer(&release());
    let (bytes, _) = bad.timestamp.clone().unwrap();
    bad.timestamp = Some((bytes.clone(), sign(&world.release_key, &bytes)));
    assert_contains(&world.rejection(&bad), "timestamp.json: no trusted key");
    let mut world = World::new();
    let offer = world.offer(&release());
    world.keys = TrustAnchors::default();
    assert_contains(&world.rejection(&offer), "there is no trusted key");
}

#[test]
fn downgrades_are_rejected() {
    let mut world = World::new();
    let offer = world.offer(&release());
    world.running = Version::new(3, 0, 0);
    assert_contains(&world.rejection(&offer), "2.0.0 is older than 3.0.0");
    world.running = Version::new(1, 0, 0);
    world.state.version = Some(Version::new(2, 0, 1));
    assert_contains(&world.rejection(&offer), "2.0.0 is older than 2.0.1");
    world.options.downgrade = true;
    let accepted = world.verify_offer(&offer).unwrap();
    assert_eq!(accepted.state.version, Some(Version::new(2, 0, 0)));
}

#[test]
fn versions_of_a_stolen_key_do_not_outlive_its_epoch() {
    let mut world = World::new();
    world.state.version = Some(Version::new(99_999, 0, 0));
    assert_contains(&world.rejection(&world.offer(&release())), "older");
    let next = Release { epoch: 2, ..release() };
    let accepted = world.verify_offer(&world.offer(&next)).unwrap();
    assert_eq!((accepted.state.epoch, accepted.state.version), (2, None));
    world.state = TrustState { epoch: 2, version: None, issued: BUILT, root: 0 };
    assert_contains(
        &world.rejection(&world.offer(&release())),
        "epoch 1 of the signing keys, but epoch 2 is known",
    );
}

#[test]
fn a_frozen_channel_is_detected() {
    let mut world = World::new();
    let offer = world.offer(&release());
    world.now = BUILT + 9 * DAY;
    assert_contains(&world.rejection(&offer), "timestamp.json expired");
    // The machine's clock was set back, before the last timestamp.
    world.now = BUILT + DAY;
    world.state.issued = BUILT + 2 * DAY;
    assert_contains(&world.rejection(&offer), "timestamp.json is replayed");
    world.now = BUILT + 200 * DAY;
    let mut offer = world.offer(&release());
    let digest = offer.release_sha256;
    offer.timestamp = Some(world.timestamp(|timestamp| {
        (timestamp.issued, timestamp.expires) = (BUILT + 199 * DAY, BUILT + 201 * DAY);
        timestamp.release_sha256 = digest;
    }));
    assert_contains(&world.rejection(&offer), "expired at");
}

#[test]
fn a_timestamp_is_verified_without_an_offer() {
    let mut world = World::new();
    let verified = world.verify_timestamp(|_| {}).unwrap();
    assert_eq!((verified.timestamp.version, verified.state.issued), (Version::new(2, 0, 0), BUILT + DAY));
    assert!(!verified.clock_is_wrong);
    let refusal = |world: &World, change: &dyn Fn(&mut Timestamp)| {
        world.verify_timestamp(|timestamp| change(timestamp)).unwrap_err().to_string()
    };
    assert_contains(&refusal(&world, &|timestamp| timestamp.channel = "beta".into()), "for channel beta");
    world.state.issued = BUILT + DAY + 1;
    assert_contains(&refusal(&world, &|_| {}), "replayed");
    world.state.issued = BUILT;
    world.now = BUILT + 9 * DAY;
    assert_contains(&refusal(&world, &|_| {}), "timestamp.json expired");
    std::mem::swap(&mut world.release_key, &mut world.channel_key);
    assert_contains(&refusal(&world, &|_| {}), "timestamp.json: no trusted key");
}

/// A stolen channel key, or a server whose clock is wrong.
#[test]
fn a_timestamp_of_the_future_is_neither_accepted_nor_a_clock() {
    let mut world = World::new();
    let at = |world: &World, issued: u64| {
        world.verify_timestamp(|timestamp| (timestamp.issued, timestamp.expires) = (issued, issued + DAY))
    };
    assert_eq!(at(&world, world.now + DAY).unwrap().state.issued, world.now + DAY);
    let refusal = at(&world, world.now + DAY + 1).unwrap_err().to_string();
    assert_contains(&refusal, "more than a day after this machine's clock");
    // Before the build time, no time is known: the floor stays, so that honest timestamps are no replays later.
    world.now = 5;
    let verified = at(&world, BUILT + 1000 * DAY).unwrap();
    assert!(verified.clock_is_wrong);
    assert_eq!(verified.state.issued, BUILT);
    // Recorded by an older version of this program, by which it is no floor.
    (world.now, world.state.issued) = (BUILT + 2 * DAY, u64::MAX);
    assert_eq!(at(&world, BUILT + DAY + 1).unwrap().state.issued, BUILT + DAY + 1);
    // A recorded time does not make releases expire.
    (world.now, world.state.issued) = (BUILT + DAY, BUILT + 2 * DAY);
    let mut offer = world.offer(&Release { expires: BUILT + DAY + 10, ..release() });
    let digest = offer.release_sha256;
    offer.timestamp = Some(world.timestamp(|timestamp| {
        (timestamp.issued, timestamp.expires) = (BUILT + 2 * DAY, BUILT + 3 * DAY);
        timestamp.release_sha256 = digest;
    }));
    world.verify_offer(&offer).unwrap();
}

#[test]
fn a_wrong_clock_disables_expiry_checks_only() {
    let mut world = World::new();
    world.now = 5;
    let offer = world.offer(&release());
    assert!(world.verify_offer(&offer).unwrap().clock_is_wrong);
    world.state.issued = BUILT + 2 * DAY;
    assert_contains(&world.rejection(&offer), "timestamp.json is replayed");
}

#[test]
fn mixed_releases_are_rejected() {
    let world = World::new();
    let one = world.offer(&release());
    let other = world.offer(&Release { version: Version::new(2, 1, 0), ..release() });
    assert_contains(&world.rejection(&Offer { timestamp: other.timestamp, ..one }), "for another release");
}

#[test]
fn releases_for_other_machines_are_rejected() {
    let world = World::new();
    let rejection = |release: Release| world.rejection(&world.offer(&release));
    assert_contains(&rejection(Release { board: "arm64-usr".into(), ..release() }), "board arm64-usr");
    assert_contains(&rejection(Release { appid: "{x}".into(), ..release() }), "product {x}");
    assert_contains(
        &rejection(Release { channels: vec!["beta".into()], ..release() }),
        "not signed for channel alpha",
    );
    let from = Some(Version::new(1, 5, 0));
    assert_contains(
        &rejection(Release { min_from: from, ..release() }),
        "from version 1.5.0 or later; 1.0.0 is running",
    );
    let mut offer = world.offer(&release());
    let digest = offer.release_sha256;
    offer.timestamp = Some(world.timestamp(|timestamp| {
        timestamp.release_sha256 = digest;
        timestamp.channel = "stable".into();
    }));
    assert_contains(&world.rejection(&offer), "for channel stable, this machine follows alpha");
}

#[test]
fn a_failed_version_is_rejected_unless_retried() {
    let mut world = World::new();
    let offer = world.offer(&release());
    world.bans.push(Ban {
        version: Version::new(2, 0, 0),
        root_hash: release().images.verity.root_hash,
        reason: "failed to boot".into(),
        since: BUILT,
    });
    assert_contains(&world.rejection(&offer), "2.0.0 is banned on this machine: failed to boot");
    world.options.retry = true;
    world.verify_offer(&offer).unwrap();
    // The same version with other content is another version.
    world.options.retry = false;
    world.bans[0].root_hash = Digest([8; 32]);
    world.verify_offer(&offer).unwrap();
}

#[test]
fn a_release_file_needs_no_timestamp() {
    let world = World::new();
    let offer = Offer { timestamp: None, ..world.offer(&release()) };
    assert_eq!(world.verify_offer(&offer).unwrap().state.issued, BUILT);
}

/// The world's keys as those of a root.
fn use_root(world: &mut World, version: u64) {
    world.keys.root = Some(ActiveRoot { version, expires: BUILT + 50 * DAY });
}

#[test]
fn values_of_a_stolen_key_do_not_outlive_its_root() {
    let mut world = World::new();
    use_root(&mut world, 2);
    // Each of these values blocks every honest release.
    world.state =
        TrustState { root: 2, epoch: u64::MAX, version: Some(Version::new(99_999, 0, 0)), issued: u64::MAX };
    let offer = world.offer(&release());
    world.rejection(&offer);
    use_root(&mut world, 3);
    let accepted = world.verify_offer(&offer).unwrap();
    assert_eq!(accepted.state, TrustState { root: 3, epoch: 1, version: None, issued: BUILT + DAY });
    // The running version still counts.
    world.running = Version::new(3, 0, 0);
    assert_contains(&world.rejection(&offer), "2.0.0 is older than 3.0.0");
}

#[test]
fn an_older_root_does_not_reset_the_trust_state() {
    let mut world = World::new();
    use_root(&mut world, 2);
    world.state = TrustState { root: 2, version: Some(Version::new(2, 5, 0)), epoch: 1, issued: BUILT };
    let offer = world.offer(&release());
    assert_contains(&world.rejection(&offer), "2.0.0 is older than 2.5.0");
    // Root 2 was lost, but not its number.
    let refused =
        "root version 2 was in force on this machine, but the roots that lead to it are lost: version ";
    use_root(&mut world, 1);
    assert_contains(&world.rejection(&offer), &format!("{refused}1 is known"));
    world.keys.root = None;
    assert_contains(&world.rejection(&offer), &format!("{refused}0 is known"));
}

#[test]
fn an_expired_root_signs_nothing() {
    let mut world = World::new();
    use_root(&mut world, 2);
    let offer = Offer { timestamp: None, ..world.offer(&release()) };
    world.verify_offer(&offer).unwrap();
    world.now = BUILT + 51 * DAY;
    assert_contains(&world.rejection(&offer), "root version 2 expired at");
    world.now = 5;
    world.verify_offer(&offer).unwrap();
}

#[test]
fn local_keys_are_independent_of_the_root() {
    let mut world = World::new();
    let offer = Offer { timestamp: None, ..world.offer(&release()) };
    world.keys.local = std::mem::take(&mut world.keys.vendor);
    use_root(&mut world, 1);
    world.now = BUILT + 51 * DAY;
    world.verify_offer(&offer).unwrap();
    world.state.root = 2;
    let accepted = world.verify_offer(&offer).unwrap();
    assert_eq!(accepted.state.root, 2);
}
