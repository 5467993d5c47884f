//! One test per row of the contract's table of attacks (5.1), and offers that must pass.

use release::{Blob, Digest, Image, Images, Payload, SCHEMA, SEGMENTS, Verity, Version};

use super::*;
use crate::roots::Clock;

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
    running: Version,
    bans: Vec<Ban>,
    state: TrustState,
    root: RootInForce,
    now: u64,
    options: UpdateOptions,
    channel: Option<ChannelTarget>,
}

fn root(version: u64) -> RootInForce {
    RootInForce { anchor: Anchor::Image, version }
}

impl World {
    fn new() -> Self {
        let state =
            TrustState { root: 1, epoch: 1, version: Some(Version::new(1, 0, 0)), ..TrustState::default() };
        Self {
            running: Version::new(1, 0, 0),
            bans: Vec::new(),
            state,
            root: root(1),
            now: BUILT + DAY,
            options: UpdateOptions::default(),
            channel: Some(ChannelTarget { version: Version::new(2, 0, 0), floors: Vec::new() }),
        }
    }

    fn verify(&self, release: &Release) -> Result<VerifiedRelease, VerifyError> {
        let bytes = release.to_bytes().unwrap();
        self.verify_bytes(&bytes, &TargetFile::of(&bytes))
    }

    fn verify_bytes(&self, bytes: &[u8], listed: &TargetFile) -> Result<VerifiedRelease, VerifyError> {
        let context = VerifyContext {
            appid: "6E7F4B0C-3c5e-4f0e-8f0b-2b0d6f1c9a54",
            board: "amd64-usr",
            channel: "alpha",
            running: Some(&self.running),
            clock: Clock { now: self.now, build_time: BUILT },
            root: self.root,
            state: self.state.clone(),
            bans: &self.bans,
            options: self.options,
        };
        verify_release(bytes, listed, self.channel.as_ref(), &context)
    }

    fn rejection(&self, release: &Release) -> String {
        self.verify(release).unwrap_err().to_string()
    }
}

#[track_caller]
fn assert_contains(text: &str, expect: &str) {
    assert!(text.contains(expect), "{text}");
}

#[test]
fn a_valid_release_is_accepted_and_recorded() {
    let world = World::new();
    let accepted = world.verify(&release()).unwrap();
    assert_eq!(accepted.release, release());
    // The version may turn out bad: an older one is acceptable then.
    assert_eq!(accepted.state, world.state);
}

#[test]
fn every_changed_byte_is_detected() {
    let world = World::new();
    let good = release().to_bytes().unwrap();
    let listed = TargetFile::of(&good);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let refusal = world.verify_bytes(&bad, &listed).unwrap_err();
        assert!(matches!(refusal, VerifyError::Mismatch(_)), "{refusal}");
    }
    world.verify_bytes(&good[1..], &listed).unwrap_err();
}

#[test]
fn downgrades_are_rejected() {
    let mut world = World::new();
    world.running = Version::new(3, 0, 0);
    assert_contains(&world.rejection(&release()), "2.0.0 is older than 3.0.0");
    world.running = Version::new(1, 0, 0);
    world.state.version = Some(Version::new(2, 0, 1));
    assert_contains(&world.rejection(&release()), "2.0.0 is older than 2.0.1");
    world.options.downgrade = true;
    assert_eq!(world.verify(&release()).unwrap().state.version, Some(Version::new(2, 0, 0)));
}

#[test]
fn versions_of_a_stolen_key_do_not_outlive_its_epoch() {
    let mut world = World::new();
    world.state.version = Some(Version::new(99_999, 0, 0));
    assert_contains(&world.rejection(&release()), "older");
    let accepted = world.verify(&Release { epoch: 2, ..release() }).unwrap();
    assert_eq!((accepted.state.epoch, accepted.state.version), (2, None));
    (world.state.epoch, world.state.version) = (2, None);
    assert_contains(&world.rejection(&release()), "epoch 1 of the signing keys, but epoch 2 is known");
}

#[test]
fn a_release_expires_unless_the_clock_is_wrong() {
    let mut world = World::new();
    world.now = BUILT + 101 * DAY;
    assert_contains(&world.rejection(&release()), "version 2.0.0 expired at");
    world.now = 5;
    world.verify(&release()).unwrap();
}

#[test]
fn only_what_the_channel_has_is_accepted() {
    let mut world = World::new();
    let older = Release { version: Version::new(1, 5, 0), ..release() };
    assert_contains(&world.rejection(&older), "version 1.5.0 is not what channel alpha has: that is 2.0.0");
    let floors = vec![Version::new(1, 5, 0)];
    world.channel = Some(ChannelTarget { version: Version::new(2, 0, 0), floors });
    world.verify(&older).unwrap();
    world.verify(&release()).unwrap();
    // From a file.
    world.channel = None;
    world.verify(&older).unwrap();
}

#[test]
fn releases_for_other_machines_are_rejected() {
    let world = World::new();
    let rejection = |release: Release| world.rejection(&release);
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
}

#[test]
fn a_failed_version_is_rejected_unless_retried() {
    let mut world = World::new();
    world.bans.push(Ban {
        version: Version::new(2, 0, 0),
        root_hash: release().images.verity.root_hash,
        reason: "failed to boot".into(),
        since: BUILT,
    });
    assert_contains(&world.rejection(&release()), "2.0.0 is banned on this machine: failed to boot");
    world.options.retry = true;
    world.verify(&release()).unwrap();
    // The same version with other content is another version.
    world.options.retry = false;
    world.bans[0].root_hash = Digest([8; 32]);
    world.verify(&release()).unwrap();
}

#[test]
fn values_of_a_stolen_key_do_not_outlive_its_root() {
    let mut world = World::new();
    // Each of these values blocks every honest release.
    let version = Some(Version::new(99_999, 0, 0));
    world.state = TrustState { root: 1, epoch: u64::MAX, version, ..TrustState::default() };
    world.rejection(&release());
    world.root = root(2);
    let accepted = world.verify(&release()).unwrap();
    assert_eq!(accepted.state, TrustState { root: 2, epoch: 1, ..TrustState::default() });
    // The running version still counts.
    world.running = Version::new(3, 0, 0);
    assert_contains(&world.rejection(&release()), "2.0.0 is older than 3.0.0");
}

#[test]
fn an_older_root_does_not_reset_the_trust_state() {
    let mut world = World::new();
    world.root = root(2);
    world.state =
        TrustState { root: 2, version: Some(Version::new(2, 5, 0)), epoch: 1, ..TrustState::default() };
    assert_contains(&world.rejection(&release()), "2.0.0 is older than 2.5.0");
    // Root 2 was lost or removed, but not its number.
    world.root = root(1);
    assert_contains(
        &world.rejection(&release()),
        "root version 2 was in force on this machine, but the roots that lead to it are lost: version 1 is known",
    );
}

#[test]
fn the_root_of_an_operator_has_a_state_of_its_own() {
    let mut world = World::new();
    world.state.root = 5;
    world.state.version = Some(Version::new(2, 5, 0));
    world.root = RootInForce { anchor: Anchor::Local, version: 1 };
    let accepted = world.verify(&release()).unwrap();
    assert_eq!(
        accepted.state,
        TrustState { anchor: Anchor::Local, root: 1, epoch: 1, ..TrustState::default() }
    );
}

/// A machine that was not checked for updates yet has found its version good.
#[test]
fn what_was_good_before_the_first_root_counts() {
    let mut world = World::new();
    world.state.root = 0;
    world.state.version = Some(Version::new(2, 5, 0));
    assert_contains(&world.rejection(&release()), "2.0.0 is older than 2.5.0");
}
