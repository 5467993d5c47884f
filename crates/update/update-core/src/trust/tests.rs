//! One test per row of the contract's table of attacks (5.1), and offers that must pass.

use minisign::KeyPair;
use release::{Blob, Image, Images, Payload, SCHEMA, SEGMENTS, Verity};

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
    keys: Authorities,
    running: Version,
    bans: Vec<Ban>,
    seen: Seen,
    now: u64,
    wish: Wish,
}

impl World {
    fn new() -> Self {
        let [release_key, channel_key] =
            std::array::from_fn(|_| KeyPair::generate_unencrypted_keypair().unwrap());
        let mut keys = Authorities::default();
        keys.given.release.add("release.pub", &release_key.pk.to_box().unwrap().to_string()).unwrap();
        keys.given.channel.add("channel.pub", &channel_key.pk.to_box().unwrap().to_string()).unwrap();
        Self {
            release_key,
            channel_key,
            keys,
            running: Version::new(1, 0, 0),
            bans: Vec::new(),
            seen: Seen { epoch: 1, version: Some(Version::new(1, 0, 0)), issued: BUILT, keys: 0 },
            now: BUILT + DAY,
            wish: Wish::default(),
        }
    }

    fn offer(&self, release: &Release) -> Offer {
        let release = release.to_bytes().unwrap();
        let release_sha256 = sum(&release);
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

    fn judge(&self, offer: &Offer) -> Result<Accepted, Refusal> {
        judge(
            offer,
            &self.keys,
            &Facts {
                appid: "6E7F4B0C-3c5e-4f0e-8f0b-2b0d6f1c9a54",
                board: "amd64-usr",
                channel: "alpha",
                running: Some(&self.running),
                now: self.now,
                build_time: BUILT,
                seen: self.seen.clone(),
                bans: &self.bans,
                wish: self.wish,
            },
        )
    }

    fn refuses(&self, offer: &Offer) -> String {
        self.judge(offer).unwrap_err().to_string()
    }
}

/// Not a digest, but differs for different bytes, which suffices here.
fn sum(bytes: &[u8]) -> Digest {
    let mut sum = [0_u8; 32];
    for (at, byte) in bytes.iter().enumerate() {
        sum[at % 32] = sum[at % 32].rotate_left(1) ^ byte;
    }
    Digest(sum)
}

fn sign(pair: &KeyPair, bytes: &[u8]) -> String {
    minisign::sign(None, &pair.sk, bytes, Some("t"), None).unwrap().to_string()
}

#[track_caller]
fn says(text: &str, expect: &str) {
    assert!(text.contains(expect), "{text}");
}

#[test]
fn a_release_of_the_channel_is_taken_and_remembered() {
    let world = World::new();
    let accepted = world.judge(&world.offer(&release())).unwrap();
    assert_eq!(accepted.release, release());
    // The version may turn out bad: an older one is acceptable then.
    let version = Some(Version::new(1, 0, 0));
    assert_eq!(accepted.seen, Seen { epoch: 1, version, issued: BUILT + DAY, keys: 0 });
    assert!(!accepted.clock_is_wrong);
}

#[test]
fn every_changed_byte_is_noticed() {
    let world = World::new();
    let good = world.offer(&release());
    for at in 0..good.release.len() {
        let mut bad = good.clone();
        bad.release[at] ^= 1;
        says(&world.refuses(&bad), "no trusted key");
    }
}

#[test]
fn each_key_counts_for_its_own_purpose_only() {
    let world = World::new();
    let mut bad = world.offer(&release());
    bad.release_signature = sign(&world.channel_key, &bad.release);
    says(&world.refuses(&bad), "release.json: no trusted key");
    let mut bad = world.offer(&release());
    let (bytes, _) = bad.timestamp.clone().unwrap();
    bad.timestamp = Some((bytes.clone(), sign(&world.release_key, &bytes)));
    says(&world.refuses(&bad), "timestamp.json: no trusted key");
    let mut world = World::new();
    let offer = world.offer(&release());
    world.keys = Authorities::default();
    says(&world.refuses(&offer), "there is no key");
}

#[test]
fn nothing_goes_back() {
    let mut world = World::new();
    let offer = world.offer(&release());
    world.running = Version::new(3, 0, 0);
    says(&world.refuses(&offer), "2.0.0 is older than 3.0.0");
    world.running = Version::new(1, 0, 0);
    world.seen.version = Some(Version::new(2, 0, 1));
    says(&world.refuses(&offer), "2.0.0 is older than 2.0.1");
    world.wish.downgrade = true;
    let accepted = world.judge(&offer).unwrap();
    assert_eq!(accepted.seen.version, Some(Version::new(2, 0, 0)));
}

#[test]
fn a_huge_version_of_a_stolen_key_does_not_last_into_the_next_epoch() {
    let mut world = World::new();
    world.seen.version = Some(Version::new(99_999, 0, 0));
    says(&world.refuses(&world.offer(&release())), "older");
    let next = Release { epoch: 2, ..release() };
    let accepted = world.judge(&world.offer(&next)).unwrap();
    assert_eq!((accepted.seen.epoch, accepted.seen.version), (2, None));
    world.seen = Seen { epoch: 2, version: None, issued: BUILT, keys: 0 };
    says(&world.refuses(&world.offer(&release())), "epoch 1 of the signing keys, 2 was seen");
}

#[test]
fn a_frozen_channel_shows() {
    let mut world = World::new();
    let offer = world.offer(&release());
    world.now = BUILT + 9 * DAY;
    says(&world.refuses(&offer), "shows an old state");
    // The machine's clock may be set back, but not before the last timestamp.
    world.now = BUILT + DAY;
    world.seen.issued = BUILT + 2 * DAY;
    says(&world.refuses(&offer), "it is an old one");
    world.now = BUILT + 200 * DAY;
    let mut offer = world.offer(&release());
    let digest = offer.release_sha256;
    offer.timestamp = Some(world.timestamp(|timestamp| {
        (timestamp.issued, timestamp.expires) = (BUILT + 199 * DAY, BUILT + 201 * DAY);
        timestamp.release_sha256 = digest;
    }));
    says(&world.refuses(&offer), "was to be installed until");
}

#[test]
fn a_clock_of_1970_judges_no_expiry_and_everything_else() {
    let mut world = World::new();
    world.now = 5;
    let offer = world.offer(&release());
    assert!(world.judge(&offer).unwrap().clock_is_wrong);
    world.seen.issued = BUILT + 2 * DAY;
    says(&world.refuses(&offer), "it is an old one");
}

#[test]
fn nothing_of_two_releases_is_mixed() {
    let world = World::new();
    let one = world.offer(&release());
    let other = world.offer(&Release { version: Version::new(2, 1, 0), ..release() });
    says(&world.refuses(&Offer { timestamp: other.timestamp, ..one }), "of another release");
}

#[test]
fn what_is_for_others_is_not_taken() {
    let world = World::new();
    let refuses = |release: Release| world.refuses(&world.offer(&release));
    says(&refuses(Release { board: "arm64-usr".into(), ..release() }), "board arm64-usr");
    says(&refuses(Release { appid: "{x}".into(), ..release() }), "product {x}");
    says(&refuses(Release { channels: vec!["beta".into()], ..release() }), "may not be in channel alpha");
    let from = Some(Version::new(1, 5, 0));
    says(&refuses(Release { min_from: from, ..release() }), "from 1.5.0 on; this is 1.0.0");
    let mut offer = world.offer(&release());
    let digest = offer.release_sha256;
    offer.timestamp = Some(world.timestamp(|timestamp| {
        timestamp.release_sha256 = digest;
        timestamp.channel = "stable".into();
    }));
    says(&world.refuses(&offer), "about channel stable, this machine follows alpha");
}

#[test]
fn a_version_that_failed_here_is_not_tried_again_unless_it_is_asked_for() {
    let mut world = World::new();
    let offer = world.offer(&release());
    world.bans.push(Ban {
        version: Version::new(2, 0, 0),
        root_hash: release().images.verity.root_hash,
        reason: "it did not come up".into(),
        since: BUILT,
    });
    says(&world.refuses(&offer), "2.0.0 is not wanted on this machine: it did not come up");
    world.wish.retry = true;
    world.judge(&offer).unwrap();
    // The same version with other content is another version.
    world.wish.retry = false;
    world.bans[0].root_hash = Digest([8; 32]);
    world.judge(&offer).unwrap();
}

#[test]
fn a_file_needs_no_word_of_a_server() {
    let world = World::new();
    let offer = Offer { timestamp: None, ..world.offer(&release()) };
    assert_eq!(world.judge(&offer).unwrap().seen.issued, BUILT);
}

/// The world's keys as those of key set `epoch`.
fn under_set(world: &mut World, epoch: u64) {
    world.keys.set = Some(InForce { epoch, expires: BUILT + 50 * DAY });
}

#[test]
fn what_a_stolen_key_signed_does_not_last_into_the_next_set_of_keys() {
    let mut world = World::new();
    under_set(&mut world, 2);
    // Each of these values blocks every honest release.
    world.seen =
        Seen { keys: 2, epoch: u64::MAX, version: Some(Version::new(99_999, 0, 0)), issued: u64::MAX };
    let offer = world.offer(&release());
    world.refuses(&offer);
    under_set(&mut world, 3);
    let accepted = world.judge(&offer).unwrap();
    assert_eq!(accepted.seen, Seen { keys: 3, epoch: 1, version: None, issued: BUILT + DAY });
    // The running version still counts.
    world.running = Version::new(3, 0, 0);
    says(&world.refuses(&offer), "2.0.0 is older than 3.0.0");
}

#[test]
fn an_old_set_of_keys_begins_nothing_anew() {
    let mut world = World::new();
    under_set(&mut world, 2);
    world.seen = Seen { keys: 2, version: Some(Version::new(2, 5, 0)), epoch: 1, issued: BUILT };
    let offer = world.offer(&release());
    says(&world.refuses(&offer), "2.0.0 is older than 2.5.0");
    // The file of set 2 was lost or removed, but not its number.
    let refused = "key set 2 counted here, and of it nothing is left but its number: set ";
    under_set(&mut world, 1);
    says(&world.refuses(&offer), &format!("{refused}1 is older"));
    world.keys.set = None;
    says(&world.refuses(&offer), &format!("{refused}0 is older"));
}

#[test]
fn a_set_of_keys_that_is_out_of_date_signs_nothing_more() {
    let mut world = World::new();
    under_set(&mut world, 2);
    let offer = Offer { timestamp: None, ..world.offer(&release()) };
    world.judge(&offer).unwrap();
    world.now = BUILT + 51 * DAY;
    says(&world.refuses(&offer), "key set 2 counted until");
    world.now = 5;
    world.judge(&offer).unwrap();
}

#[test]
fn an_operator_s_own_keys_count_whatever_becomes_of_the_set() {
    let mut world = World::new();
    let offer = Offer { timestamp: None, ..world.offer(&release()) };
    world.keys.local = std::mem::take(&mut world.keys.given);
    under_set(&mut world, 1);
    world.now = BUILT + 51 * DAY;
    world.judge(&offer).unwrap();
    world.seen.keys = 2;
    let accepted = world.judge(&offer).unwrap();
    assert_eq!(accepted.seen.keys, 2);
}
