//! A repository in memory whose metadata a test may change and sign at will, and a client of it.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::rc::Rc;

use serde::Serialize;
use tuf::{
    Cause, Client, Date, Delegations, Ed25519Signer, Error, Fetch, File, Limits, MemoryStore, MetaFile,
    Paths, Root, Signer, Snapshot, Store, Target, TargetFile, Targets, Timestamp, Trusted, quoted_role, sign,
};

pub const ROOT: &str = "root";
pub const TIMESTAMP: &str = "timestamp";
pub const SNAPSHOT: &str = "snapshot";
pub const TARGETS: &str = "targets";
pub const TOP: [&str; 4] = [ROOT, TIMESTAMP, SNAPSHOT, TARGETS];
/// The order in which a change of targets is published.
pub const UPDATE: [&str; 3] = [TARGETS, SNAPSHOT, TIMESTAMP];
pub const ALL: [&str; 4] = [ROOT, TARGETS, SNAPSHOT, TIMESTAMP];

pub const DAY: i64 = 86_400;
/// When a test happens, in Unix time.
pub const NOW: i64 = 1_800_000_000;

pub type Keys = Vec<Rc<Ed25519Signer>>;

pub struct Simulator {
    pub root: Root,
    pub timestamp: Timestamp,
    pub snapshot: Snapshot,
    pub targets: BTreeMap<String, Targets>,
    pub signers: BTreeMap<String, Keys>,
    /// All versions of a role, the first one first.
    pub published: BTreeMap<String, Vec<Vec<u8>>>,
    /// By path in the repository.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whether length and digests of metadata are listed.
    pub lists_hashes: bool,
    /// Answers a file, whatever is published.
    pub forged: BTreeMap<String, Vec<u8>>,
    /// Requested files of metadata, and of targets.
    pub requests: Vec<String>,
    pub downloads: Vec<String>,
    keys: u8,
}

pub fn date(seconds: i64) -> Date {
    Date::from_unix(seconds).unwrap()
}

pub fn number(value: u64) -> NonZeroU64 {
    NonZeroU64::new(value).unwrap()
}

pub fn patterns(paths: &[&str]) -> Paths {
    Paths::Patterns(paths.iter().map(ToString::to_string).collect())
}

fn refs(keys: &Keys) -> Vec<&dyn Signer> {
    keys.iter().map(|key| &**key as &dyn Signer).collect()
}

impl Simulator {
    pub fn new() -> Self {
        Self::with_names(true)
    }

    pub fn with_names(consistent: bool) -> Self {
        let expires = date(NOW + 30 * DAY);
        let mut repository = Self {
            root: Root::new(expires, consistent),
            timestamp: Timestamp::new(expires, MetaFile::version(NonZeroU64::MIN)),
            snapshot: Snapshot::new(expires),
            targets: [(TARGETS.to_owned(), Targets::new(expires))].into(),
            signers: BTreeMap::new(),
            published: BTreeMap::new(),
            files: BTreeMap::new(),
            lists_hashes: false,
            forged: BTreeMap::new(),
            requests: Vec::new(),
            downloads: Vec::new(),
            keys: 0,
        };
        for role in TOP {
            let key = repository.new_key();
            repository.set_keys(role, vec![key], 1);
        }
        repository.publish(&ALL);
        repository
    }

    pub fn new_key(&mut self) -> Rc<Ed25519Signer> {
        self.keys += 1;
        Rc::new(Ed25519Signer::from_seed(&[self.keys; 32]).unwrap())
    }

    pub fn new_keys(&mut self, count: usize) -> Keys {
        (0..count).map(|_| self.new_key()).collect()
    }

    /// Lists the keys of a top-level role, and signs with them.
    pub fn set_keys(&mut self, role: &str, keys: Keys, threshold: u64) {
        let public: Vec<_> = keys.iter().map(|signer| signer.key()).collect();
        self.root.set_keys(role, &public, number(threshold));
        self.signers.insert(role.to_owned(), keys);
    }

    pub fn add_key(&mut self, role: &str, threshold: u64) {
        let mut keys = self.signers[role].clone();
        keys.push(self.new_key());
        self.set_keys(role, keys, threshold);
    }

    pub fn rotate_key(&mut self, role: &str) {
        let key = self.new_key();
        self.set_keys(role, vec![key], 1);
    }

    pub fn top_targets(&mut self) -> &mut Targets {
        self.targets.get_mut(TARGETS).unwrap()
    }

    /// Delegates paths to a new role of one key.
    pub fn delegate(&mut self, delegator: &str, name: &str, terminating: bool, paths: Paths) {
        let key = self.new_key();
        let delegated = self.targets.get_mut(delegator).unwrap();
        delegated.delegate(name, &[key.key()], NonZeroU64::MIN, terminating, paths);
        self.signers.entry(name.to_owned()).or_default().push(key);
        self.targets.entry(name.to_owned()).or_insert_with(|| Targets::new(date(NOW + 30 * DAY)));
    }

    pub fn delegations(&mut self, role: &str) -> &mut Delegations {
        self.targets.get_mut(role).unwrap().delegations.as_mut().unwrap()
    }

    /// Lists a target, and serves it.
    pub fn add_target(&mut self, role: &str, path: &str, bytes: &[u8]) {
        self.add_target_file(role, path, TargetFile::of(bytes), bytes);
    }

    pub fn add_target_file(&mut self, role: &str, path: &str, file: TargetFile, bytes: &[u8]) {
        let has_digest_name = self.root.consistent_snapshot;
        for digest in file.hashes.0.values().map(|digest| Some(&**digest).filter(|_| has_digest_name)) {
            self.files.insert(tuf::target_file(path, digest).unwrap(), bytes.to_vec());
        }
        self.targets.get_mut(role).unwrap().targets.insert(path.to_owned(), file);
    }

    /// Replaces what is served for a target, but not its metadata.
    pub fn replace_target(&mut self, path: &str, bytes: &[u8]) {
        let name = quoted_role(path);
        let mut replaced = 0;
        for (file, content) in &mut self.files {
            if file.ends_with(&name) {
                *content = bytes.to_vec();
                replaced += 1;
            }
        }
        assert!(replaced > 0, "{path}");
    }

    fn bytes<T: Serialize>(&self, role: &str, value: T) -> Vec<u8> {
        serde_json::to_vec(&sign(value, &refs(&self.signers[role])).unwrap()).unwrap()
    }

    fn version(&mut self, role: &str) -> &mut NonZeroU64 {
        match role {
            ROOT => &mut self.root.header.version,
            TIMESTAMP => &mut self.timestamp.header.version,
            SNAPSHOT => &mut self.snapshot.header.version,
            other => &mut self.targets.get_mut(other).unwrap().header.version,
        }
    }

    pub fn set_version(&mut self, role: &str, version: u64) {
        *self.version(role) = number(version);
    }

    /// Signs roles as they are now, in this order, with the next version unless there is none yet.
    pub fn publish(&mut self, roles: &[&str]) {
        for role in roles {
            if self.published.contains_key(*role) {
                let version = self.version(role);
                *version = version.checked_add(1).unwrap();
            }
            let version = *self.version(role);
            let bytes = match *role {
                ROOT => self.bytes(role, &self.root),
                TIMESTAMP => self.bytes(role, &self.timestamp),
                SNAPSHOT => self.bytes(role, &self.snapshot),
                other => self.bytes(role, &self.targets[other]),
            };
            let meta =
                if self.lists_hashes { MetaFile::of(version, &bytes) } else { MetaFile::version(version) };
            match *role {
                ROOT | TIMESTAMP => {}
                SNAPSHOT => drop(self.timestamp.meta.insert("snapshot.json".to_owned(), meta)),
                other => self.snapshot.list(other, meta),
            }
            self.published.entry((*role).to_owned()).or_default().push(bytes);
        }
    }

    /// Starts a role's versions anew.
    pub fn withdraw(&mut self, role: &str) {
        self.published.remove(role);
    }

    pub fn latest(&mut self, role: &str) -> &mut Vec<u8> {
        self.published.get_mut(role).unwrap().last_mut().unwrap()
    }

    /// Changes the JSON of the latest version of a role.
    pub fn edit(&mut self, role: &str, change: impl FnOnce(&mut serde_json::Value)) {
        let latest = self.latest(role);
        let mut value = serde_json::from_slice(latest).unwrap();
        change(&mut value);
        *latest = serde_json::to_vec(&value).unwrap();
    }

    fn metadata(&self, file: &str) -> Option<Vec<u8>> {
        let name = file.strip_suffix(".json")?;
        let (version, name) = match name.split_once('.') {
            Some((version, name)) if self.root.consistent_snapshot || name == ROOT => (Some(version), name),
            _ => (None, name),
        };
        let versions = &self.published.iter().find(|(role, _)| quoted_role(role) == name)?.1;
        match version {
            Some(version) => versions.get(version.parse::<usize>().ok()?.checked_sub(1)?).cloned(),
            None => versions.last().cloned(),
        }
    }
}

impl Fetch for &mut Simulator {
    fn fetch(
        &mut self,
        file: File<'_>,
        _: u64,
    ) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(match file {
            File::Metadata(path) => {
                self.requests.push(path.to_owned());
                self.forged.get(path).cloned().or_else(|| self.metadata(path))
            }
            File::Target(path) => {
                self.downloads.push(path.to_owned());
                self.files.get(path).cloned()
            }
        })
    }
}

/// A client's durable state.
pub struct Machine {
    pub store: MemoryStore,
    pub limits: Limits,
    pub now: i64,
    /// Downloaded files, by target path.
    pub downloaded: BTreeMap<String, Vec<u8>>,
}

impl Machine {
    /// A machine that was shipped with the first root.
    pub fn new(repository: &Simulator) -> Self {
        Self::with_root(&repository.published[ROOT][0])
    }

    pub fn with_root(root: &[u8]) -> Self {
        let mut store = MemoryStore::default();
        store.write(ROOT, root).unwrap();
        Self { store, limits: Limits::default(), now: NOW, downloaded: BTreeMap::new() }
    }

    fn with<F: Fetch, T>(&mut self, fetch: F, work: impl FnOnce(&mut Client<F, MemoryStore>) -> T) -> T {
        let mut client = Client::new(fetch, std::mem::take(&mut self.store), self.limits, self.now);
        let result = work(&mut client);
        self.store = client.into_store();
        result
    }

    pub fn refresh<F: Fetch>(&mut self, from: F) -> Result<Trusted, Error> {
        self.with(from, Client::refresh)
    }

    pub fn find<F: Fetch>(&mut self, from: F, path: &str) -> Result<Option<Target>, Error> {
        self.with(from, |client| {
            let trusted = client.refresh()?;
            client.find(&trusted, path)
        })
    }

    /// Downloads a target unless it is already here.
    pub fn download<F: Fetch>(&mut self, from: F, path: &str) -> Result<(), Error> {
        let here = self.downloaded.get(path).cloned();
        let bytes = self.with(from, |client| {
            let trusted = client.refresh()?;
            let missing = || Error { file: path.to_owned(), cause: Cause::Missing };
            let target = client.find(&trusted, path)?.ok_or_else(missing)?;
            match here {
                Some(bytes) if target.verify(&bytes).is_ok() => Ok(bytes),
                _ => client.download(&target),
            }
        })?;
        self.downloaded.insert(path.to_owned(), bytes);
        Ok(())
    }

    /// The trusted version of a role.
    pub fn version(&self, role: &str) -> Option<u64> {
        let value: serde_json::Value = serde_json::from_slice(self.store.0.get(role)?).unwrap();
        value["signed"]["version"].as_u64()
    }

    /// Trusted versions of root, timestamp, snapshot and targets; 0 for none.
    pub fn versions(&self) -> [u64; 4] {
        TOP.map(|role| self.version(role).unwrap_or(0))
    }
}

/// The whole chain of an error's messages.
pub fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Fails unless the result is an error whose chain contains `expected`.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, Error>, expected: &str) {
    let text = chain(&result.expect_err(expected));
    assert!(text.contains(expected), "expected `{expected}`: {text}");
}
