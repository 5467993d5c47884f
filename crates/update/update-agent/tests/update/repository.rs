//! The metadata of a channel server: signed as an honest one does, or with one difference.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use release::{Release, Version, files};
use release_folder::{SigningKey, load_roots, secret_key_path};
use serde::Serialize;
use tuf::{
    Date, ListedSigner, MetaFile, Root, Signed, Signer, Snapshot, TargetFile, Targets, Timestamp, sign,
};
use update_core::freshness::LIFETIME;
use update_core::repository::{
    CHANNELS, Channel, ChannelTarget, TARGETS_FILE, add_release, channel_targets, next_targets,
    release_target,
};
use update_core::roots::{Role, version_of};
use update_engine::now;

pub const BOARD: &str = "amd64-usr";

/// Of what is signed online: no server of a test process starts anew.
static VERSION: AtomicU64 = AtomicU64::new(1);

/// What a server metadata.
#[derive(Debug, Clone)]
pub struct Metadata {
    pub roots: Vec<(String, Vec<u8>)>,
    /// The file.
    pub targets: Vec<u8>,
    pub channels: Vec<Channel>,
    /// Of timestamp, snapshot and channels.
    pub version: u64,
    /// Unix time in seconds at which the timestamp expires.
    pub expires: u64,
    /// The key that signs the timestamp.
    pub timestamp_key: Role,
}

/// Signs metadata with the key of `role` in the folder `keys`, under the id that `root` lists, if it does.
pub fn signed<T: Serialize>(keys: &Path, role: Role, root: &Root, metadata: T) -> Signed<T> {
    let secret = SigningKey::read(&secret_key_path(keys, role.name())).unwrap();
    let rule = root.role(role.in_root()[0]).unwrap();
    let listed = ListedSigner::of(rule, &root.keys, secret.signer());
    let signer = listed.as_ref().map_or(secret.signer(), |listed| listed as &dyn Signer);
    sign(metadata, &[signer]).unwrap()
}

fn date(seconds: u64) -> Date {
    Date::from_unix(i64::try_from(seconds).unwrap()).unwrap()
}

pub fn has(name: &str, version: &Version) -> Channel {
    let target = ChannelTarget { version: version.clone(), floors: Vec::new() };
    Channel { name: name.to_owned(), board: BOARD.to_owned(), target }
}

impl Metadata {
    /// The release in `folder` is the current one of channel alpha. The list is that of `keys`, which is the newest, if it
    /// has the release.
    pub fn honest(folder: &Path, keys: &Path) -> Self {
        let bytes = fs::read(folder.join(files::RELEASE)).unwrap();
        let release = Release::parse(&bytes).unwrap();
        let lists = [keys, folder].map(|folder| fs::read(folder.join(TARGETS_FILE)).unwrap());
        let has_release = |list: &Vec<u8>| {
            let targets = Signed::<Targets>::parse(list).unwrap().signed.targets;
            targets.get(&release_target(BOARD, &release.version)) == Some(&TargetFile::of(&bytes))
        };
        let targets = lists.into_iter().find(has_release).unwrap();
        let roots =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let roots = roots.filter(|name| version_of(name).is_some());
        Self {
            roots: roots.map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect(),
            targets,
            channels: vec![has("alpha", &release.version)],
            version: VERSION.fetch_add(1, Ordering::Relaxed),
            expires: now() + LIFETIME,
            timestamp_key: Role::Channel,
        }
    }

    fn root(&self, keys: &Path) -> Root {
        let newest = self.roots.iter().max_by_key(|(name, _)| version_of(name));
        let bytes =
            newest.map_or_else(|| load_roots(keys).unwrap()[0].bytes.clone(), |(_, bytes)| bytes.clone());
        Signed::<Root>::parse(&bytes).unwrap().signed
    }

    /// Lists another release too, signed by the release key of `keys`, or by that of another role.
    pub fn list(&mut self, keys: &Path, role: Role, release: &Release, bytes: &[u8]) {
        let root = self.root(keys);
        let before = Signed::<Targets>::parse(&self.targets).unwrap().signed;
        let mut targets = next_targets(&root, Some(&before)).unwrap();
        targets.targets.remove(&release_target(&release.board, &release.version));
        add_release(&mut targets, release, bytes).unwrap();
        self.targets = signed(keys, role, &root, targets).to_bytes().unwrap();
        self.channels = vec![has("alpha", &release.version)];
    }

    /// The files below `metadata/`. `keys` is the folder of the secret keys.
    pub fn sign(&self, keys: &Path) -> BTreeMap<String, Vec<u8>> {
        let root = self.root(keys);
        let version = NonZeroU64::new(self.version).unwrap();
        let mut files: BTreeMap<_, _> = self.roots.iter().cloned().collect();
        let targets = Signed::<Targets>::parse(&self.targets).unwrap().signed;
        let later = date(now() + 2 * LIFETIME);
        let mut add = |name: &str, version: NonZeroU64, bytes: Vec<u8>| {
            let meta = MetaFile::of(version, &bytes);
            files.insert(format!("{version}.{name}"), bytes);
            (name.to_owned(), meta)
        };
        let listed = add("targets.json", targets.header.version, self.targets.clone());
        let mut role = Targets::new(later);
        role.header.version = version;
        for channel in &self.channels {
            // One that is not listed is what an attacker would sign.
            let known = channel_targets(&targets, std::slice::from_ref(channel), version, later);
            let target = known.map_or_else(
                |_| {
                    let custom = serde_json::to_value(&channel.target).unwrap();
                    let custom = Some(serde_json::from_value(custom).unwrap());
                    let path = format!("{CHANNELS}/{}/{}", channel.name, channel.board);
                    (path, TargetFile { custom, ..TargetFile::of(b"x") })
                },
                |mut known| known.targets.pop_first().unwrap(),
            );
            role.targets.extend([target]);
        }
        let channels =
            add("channels.json", version, signed(keys, Role::Channel, &root, role).to_bytes().unwrap());
        let mut snapshot = Snapshot::new(later);
        snapshot.header.version = version;
        snapshot.meta = [listed, channels].into();
        let (_, snapshot) =
            add("snapshot.json", version, signed(keys, Role::Channel, &root, snapshot).to_bytes().unwrap());
        let mut timestamp = Timestamp::new(date(self.expires), snapshot);
        timestamp.header.version = version;
        let timestamp = signed(keys, self.timestamp_key, &root, timestamp);
        files.insert("timestamp.json".to_owned(), timestamp.to_bytes().unwrap());
        files
    }
}
