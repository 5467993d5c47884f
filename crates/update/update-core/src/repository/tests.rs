//! A repository as operator and server sign it, and a client that reads it.

use std::collections::BTreeMap;

use tuf::{Client, File, Limits, MemoryStore, MetaFile, Repository, Signer, Snapshot, Timestamp, role_type};

use super::*;
use crate::roots::set_keys;
use crate::roots::tests::{Pair, named, signer};
use crate::trust::tests::release;

const NOW: i64 = 1_000_000;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Key pairs, and the repository.
struct World {
    root: Pair,
    release: Pair,
    channel: Pair,
    served: Repository,
    targets: Targets,
    /// Version of what the channel key signed last.
    online: u64,
}

fn date(seconds: i64) -> Date {
    Date::from_unix(seconds).unwrap()
}

fn number(version: u64) -> NonZeroU64 {
    NonZeroU64::new(version).unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn has(name: &str, current: &str, floors: &[&str]) -> Channel {
    let floors = floors.iter().map(|floor| version(floor)).collect();
    let target = ChannelTarget { version: version(current), floors };
    Channel { name: name.to_owned(), board: "amd64-usr".to_owned(), target }
}

impl World {
    fn new() -> Self {
        let [root, release, channel] =
            [("root-1", 1), ("own", 2), ("online", 3)].map(|(name, seed)| signer(name, seed));
        let mut first = Root::new(date(NOW + 1000), true);
        set_keys(&mut first, Role::Root, &named(&[&root]), number(1));
        set_keys(&mut first, Role::Release, &named(&[&release]), number(1));
        set_keys(&mut first, Role::Channel, &named(&[&channel]), number(1));
        let mut served = Repository::default();
        served.publish_root(first.clone(), &[&root]).unwrap();
        let targets = next_targets(&first, None).unwrap();
        Self { root, release, channel, served, targets, online: 0 }
    }

    fn add(&mut self, version: &str) -> Vec<u8> {
        let release = Release { version: version.parse().unwrap(), ..release() };
        let bytes = release.to_bytes().unwrap();
        self.targets = next_targets(&self.served.root().unwrap(), Some(&self.targets)).unwrap();
        add_release(&mut self.targets, &release, &bytes).unwrap();
        bytes
    }

    /// What the server signs after a change.
    fn publish(&mut self, channels: &[Channel]) {
        self.online += 1;
        let online = number(self.online);
        let root = self.served.root().unwrap();
        let role = channel_targets(&self.targets, channels, online, date(NOW + 500)).unwrap();
        let mut snapshot = Snapshot::new(date(NOW + 500));
        let top = self.targets.clone();
        let top = self.served.publish_targets(role_type::TARGETS, top, None, &[&self.release]).unwrap();
        let role =
            self.served.publish_targets(CHANNELS, role, Some(&self.targets), &[&self.channel]).unwrap();
        snapshot.meta =
            BTreeMap::from([("targets.json".to_owned(), top), ("channels.json".to_owned(), role)]);
        snapshot.header.version = online;
        let snapshot: MetaFile = self.served.publish_snapshot(snapshot, &[&self.channel]).unwrap();
        let mut timestamp = Timestamp::new(date(NOW + 100), snapshot);
        timestamp.header.version = online;
        self.served.publish_timestamp(timestamp, &[&self.channel]).unwrap();
        assert_eq!(roots::version(&root), roots::version(&self.served.root().unwrap()));
    }

    fn client(&self) -> Client<impl FnMut(File<'_>, u64) -> Outcome<Option<Vec<u8>>>, MemoryStore> {
        let anchor = self.served.metadata["1.root.json"].clone();
        let store = MemoryStore([(role_type::ROOT.to_owned(), anchor)].into());
        let fetch = |file: File<'_>, _: u64| match file {
            File::Metadata(name) => Ok(self.served.metadata.get(name).cloned()),
            File::Target(_) => Ok(None),
        };
        Client::new(fetch, store, Limits::default(), NOW)
    }

    fn channel(&self, name: &str) -> Option<ChannelTarget> {
        let mut client = self.client();
        let trusted = client.refresh().unwrap();
        let path = channel_target(name, "amd64-usr");
        let target = client.find(&trusted, &path).unwrap()?;
        let channel = ChannelTarget::of(&path, &target.file).unwrap();
        // Its bytes are those of the release.
        let listed = &trusted.targets.targets[&release_target("amd64-usr", &channel.version)];
        assert_eq!((target.file.length, &target.file.hashes), (listed.length, &listed.hashes));
        Some(channel)
    }
}

#[test]
fn a_client_finds_what_a_channel_has() {
    let mut world = World::new();
    let old = world.add("2.0.0");
    world.add("2.1.0");
    world.publish(&[has("alpha", "2.1.0", &["2.0.0"]), has("stable", "2.0.0", &[])]);
    let alpha = world.channel("alpha").unwrap();
    assert_eq!(alpha, has("alpha", "2.1.0", &["2.0.0"]).target);
    assert!(alpha.offers(&version("2.0.0")) && alpha.offers(&version("2.1.0")));
    assert!(!alpha.offers(&version("1.0.0")));
    assert_eq!(world.channel("stable").unwrap(), has("stable", "2.0.0", &[]).target);
    assert_eq!(world.channel("beta"), None);
    // A channel may go back, and lose its version.
    world.publish(&[has("alpha", "2.0.0", &[])]);
    assert_eq!(world.channel("alpha").unwrap().version, version("2.0.0"));
    world.publish(&[]);
    assert_eq!(world.channel("alpha"), None);
    assert_eq!(world.targets.targets["releases/amd64-usr/2.0.0/release.json"], TargetFile::of(&old));
}

/// Whoever has the server signs no release.
#[test]
fn the_channel_key_lists_no_release() {
    let mut world = World::new();
    world.add("2.0.0");
    let forged = Release { version: version("9.0.0"), ..release() };
    let bytes = forged.to_bytes().unwrap();
    assert_eq!(
        channel_targets(&world.targets, &[has("alpha", "9.0.0", &[])], number(1), date(NOW + 1)).unwrap_err(),
        RepositoryError::NotListed { version: version("9.0.0"), board: "amd64-usr".to_owned() }
    );
    // Without that check, below the paths that it has.
    world.publish(&[]);
    let mut role = Targets::new(date(NOW + 500));
    role.header.version = number(2);
    role.targets.insert(release_target("amd64-usr", &version("9.0.0")), TargetFile::of(&bytes));
    let role = world.served.publish_targets(CHANNELS, role, Some(&world.targets), &[&world.channel]).unwrap();
    let mut snapshot = Snapshot::new(date(NOW + 500));
    let top = world.served.metadata["2.targets.json"].clone();
    let top = MetaFile::of(number(2), &top);
    snapshot.meta = BTreeMap::from([("targets.json".to_owned(), top), ("channels.json".to_owned(), role)]);
    snapshot.header.version = number(2);
    let snapshot = world.served.publish_snapshot(snapshot, &[&world.channel]).unwrap();
    let mut timestamp = Timestamp::new(date(NOW + 100), snapshot);
    timestamp.header.version = number(2);
    world.served.publish_timestamp(timestamp, &[&world.channel]).unwrap();
    let mut client = world.client();
    let trusted = client.refresh().unwrap();
    let path = release_target("amd64-usr", &version("9.0.0"));
    assert_eq!(client.find(&trusted, &path).unwrap(), None);
    assert!(!trusted.targets.targets.contains_key(&path));
}

#[test]
fn published_versions_are_immutable() {
    let mut world = World::new();
    let bytes = world.add("2.0.0");
    let release = release();
    add_release(&mut world.targets, &release, &bytes).unwrap();
    let error = add_release(&mut world.targets, &release, b"other").unwrap_err();
    assert!(error.to_string().contains("another release of version 2.0.0 for amd64-usr"), "{error}");
    // The list of releases grows.
    world.add("2.1.0");
    assert_eq!((world.targets.targets.len(), world.targets.header.version.get()), (2, 3));
}

/// Machines that know nothing of images find the same release as without them.
#[test]
fn a_client_that_ignores_images_finds_the_release() {
    let mut world = World::new();
    let bytes = world.add("2.0.0");
    let file = release::ImageFile {
        name: "keelson-2.0.0-alpha.raw.zst".parse().unwrap(),
        channel: "alpha".to_owned(),
        format: "raw.zst".to_owned(),
        size: 1,
        sha256: release::Digest([1; 32]),
        virtual_size: 1,
    };
    let root_hash = release().images.verity.root_hash;
    let (board, files) = ("amd64-usr".to_owned(), vec![file]);
    let images = ImageList { schema: release::SCHEMA, board, version: version("2.0.0"), root_hash, files };
    let list = images.to_bytes().unwrap();
    let other = ImageList { version: version("2.1.0"), ..images.clone() };
    let missing = add_images(&mut world.targets, &other, b"other").unwrap_err();
    assert!(missing.to_string().contains("does not list version 2.1.0"), "{missing}");
    add_images(&mut world.targets, &images, &list).unwrap();
    add_images(&mut world.targets, &images, &list).unwrap();
    let changed = add_images(&mut world.targets, &images, b"other").unwrap_err();
    assert!(changed.to_string().contains("other images of version 2.0.0 for amd64-usr"), "{changed}");

    world.publish(&[has("alpha", "2.0.0", &[])]);
    assert_eq!(world.channel("alpha").unwrap(), has("alpha", "2.0.0", &[]).target);
    assert_eq!(
        world.targets.targets[&release_target("amd64-usr", &version("2.0.0"))],
        TargetFile::of(&bytes)
    );
    // The next release keeps them.
    world.add("2.1.0");
    let path = images_target("amd64-usr", &version("2.0.0"));
    assert_eq!(
        (&*path, &world.targets.targets[&path]),
        ("releases/amd64-usr/2.0.0/images.json", &TargetFile::of(&list))
    );
}

#[test]
fn targets_follow_a_rotation_of_the_channel_key() {
    let mut world = World::new();
    world.add("2.0.0");
    world.publish(&[has("alpha", "2.0.0", &[])]);
    world.channel = signer("online.v2", 9);
    let mut next = world.served.root().unwrap();
    next.header.version = number(2);
    set_keys(&mut next, Role::Channel, &named(&[&world.channel]), number(1));
    world.served.publish_root(next.clone(), &[&world.root]).unwrap();
    world.targets = next_targets(&next, Some(&world.targets)).unwrap();
    world.publish(&[has("alpha", "2.0.0", &[])]);
    assert_eq!(world.channel("alpha").unwrap().version, version("2.0.0"));
    let delegated = &world.targets.delegations.as_ref().unwrap();
    assert_eq!(delegated.keys.keys().collect::<Vec<_>>(), [&world.channel.key().id()]);
}

#[test]
fn custom_data_of_others_is_refused() {
    let mut file = TargetFile::of(b"");
    for custom in [None, Some(r#"{}"#), Some(r#"{"version":"x"}"#), Some(r#"{"version":"1.0.0","more":1}"#)] {
        file.custom = custom.map(|custom| serde_json::from_str(custom).unwrap());
        let error = ChannelTarget::of("channels/a/b", &file).unwrap_err().to_string();
        assert!(error.starts_with("the custom data of target channels/a/b is invalid"), "{error}");
    }
}
