//! Root, timestamp, snapshot, targets: sections 5.1 to 5.6. Step numbers in comments are those of the specification.

use std::collections::BTreeMap;

use super::error::{Cause, Error};
use super::io::{Fetch, File, Store};
use super::limits::Limits;
use crate::key::{Key, KeyId};
use crate::metadata::{
    MetaFile, MetadataError, Parsed, Role, RoleKeys, Root, Snapshot, Targets, Timestamp, role_type,
};
use crate::names::metadata_file;
use crate::threshold::{signing_keys, verify_threshold};

/// A client of one repository, for one update: time is fixed at its start (5.1).
pub struct Client<F, S> {
    pub(super) fetch: F,
    pub(super) store: S,
    pub(super) limits: Limits,
    pub(super) now: i64,
}

/// The verified metadata of a [`Client::refresh`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names of the roles")]
pub struct Trusted {
    pub root: Root,
    pub timestamp: Timestamp,
    pub snapshot: Snapshot,
    pub targets: Targets,
}

/// Who may sign a file: a role's keys, as its delegator lists them.
#[derive(Clone, Copy)]
pub(super) struct Authority<'a> {
    pub role: &'a str,
    pub rule: &'a RoleKeys,
    pub keys: &'a BTreeMap<KeyId, Key>,
}

/// A file of the store that its role's current keys signed.
struct Stored<T> {
    value: T,
    bytes: Vec<u8>,
}

impl Authority<'_> {
    /// Parses a file that enough of the role's keys signed.
    pub fn verify<T: Role>(self, bytes: &[u8]) -> Result<Parsed<T>, Cause> {
        let parsed = Parsed::parse(bytes)?;
        self.verify_parsed(&parsed)?;
        Ok(parsed)
    }

    fn verify_parsed<T>(self, parsed: &Parsed<T>) -> Result<(), Cause> {
        let Parsed { canonical, signatures, .. } = parsed;
        Ok(verify_threshold(self.role, self.rule, self.keys, canonical, signatures)?)
    }
}

impl Root {
    /// Reads a root that came with the client: its own keys signed it completely.
    ///
    /// # Errors
    /// It is malformed, or below its threshold.
    pub fn first(bytes: &[u8]) -> Result<Self, Cause> {
        let parsed = Parsed::<Self>::parse(bytes)?;
        parsed.value.authority(role_type::ROOT).verify_parsed(&parsed)?;
        Ok(parsed.value)
    }

    /// Reads the root that follows this one: signed by the keys of both, and of the next version (5.3.4 and 5.3.5).
    /// Expired or not.
    ///
    /// # Errors
    /// It is malformed, below a threshold, or of another version.
    pub fn next(&self, bytes: &[u8]) -> Result<Self, Cause> {
        let parsed: Parsed<Self> = self.authority(role_type::ROOT).verify(bytes)?;
        parsed.value.authority(role_type::ROOT).verify_parsed(&parsed)?;
        let found = parsed.value.header.version.get();
        let expected = self.header.version.get().saturating_add(1);
        if found != expected {
            return Err(Cause::Version { found, expected });
        }
        Ok(parsed.value)
    }

    /// Reads top-level targets metadata of any version, outside of a repository with a snapshot: as part of a bundle, whose
    /// freshness somebody else vouches for. `now` is Unix time in seconds.
    ///
    /// # Errors
    /// It is malformed, below its threshold, or expired.
    pub fn targets(&self, bytes: &[u8], now: i64) -> Result<Targets, Cause> {
        let parsed: Parsed<Targets> = self.authority(role_type::TARGETS).verify(bytes)?;
        check_expiry(&parsed.value, now)?;
        Ok(parsed.value)
    }

    /// The ids of this root's root keys that signed a root file: itself, or the next one. Each key counts once.
    ///
    /// # Errors
    /// The file is malformed.
    pub fn signers_of(&self, bytes: &[u8]) -> Result<Vec<KeyId>, MetadataError> {
        let Parsed { canonical, signatures, .. } = Parsed::<Self>::parse(bytes)?;
        Ok(signing_keys(&self.roles.root, &self.keys, &canonical, &signatures))
    }

    /// The ids of this root's keys of targets that signed top-level targets metadata. Each key counts once.
    ///
    /// # Errors
    /// The file is malformed.
    pub fn targets_signers_of(&self, bytes: &[u8]) -> Result<Vec<KeyId>, MetadataError> {
        let Parsed { canonical, signatures, .. } = Parsed::<Targets>::parse(bytes)?;
        Ok(signing_keys(&self.roles.targets, &self.keys, &canonical, &signatures))
    }

    fn authority<'a>(&'a self, role: &'a str) -> Authority<'a> {
        // invariant: callers name top-level roles; for others root's own keys are the strictest answer.
        Authority { role, rule: self.role(role).unwrap_or(&self.roles.root), keys: &self.keys }
    }
}

impl<F: Fetch, S: Store> Client<F, S> {
    /// A client whose store has a trusted root under `root`. `now` is Unix time in seconds.
    pub fn new(fetch: F, store: S, limits: Limits, now: i64) -> Self {
        Self { fetch, store, limits, now }
    }

    /// Ends the client.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Updates root, timestamp, snapshot and top-level targets.
    ///
    /// # Errors
    /// The first file that is not accepted. Files accepted before it are in the store.
    pub fn refresh(&mut self) -> Result<Trusted, Error> {
        let root = self.update_root()?;
        let timestamp = self.update_timestamp(&root)?;
        let snapshot = self.update_snapshot(&root, &timestamp)?;
        let authority = root.authority(role_type::TARGETS);
        let targets = self.load_targets(authority, &snapshot, root.consistent_snapshot)?;
        Ok(Trusted { root, timestamp, snapshot, targets })
    }

    /// Updates the root only (5.2 and 5.3): [`Client::refresh`] begins with it.
    ///
    /// # Errors
    /// A root is not accepted, or the last one is expired. Roots accepted before it are in the store.
    pub fn update_root(&mut self) -> Result<Root, Error> {
        let trusted = "trusted root";
        let bytes = self.read(role_type::ROOT)?.ok_or(Cause::NoRoot).map_err(|cause| cause.of(trusted))?;
        // The file is the anchor; that it is complete is checked as for every other.
        let mut root = Root::first(&bytes).map_err(|cause| cause.of(trusted))?;
        let mut file = trusted.to_owned();
        for _ in 0..self.limits.roots {
            // 5.3.3. A version that no successor fits ends the chain.
            let version = root.header.version.get();
            let Some(next) = version.checked_add(1) else { break };
            let name = metadata_file(role_type::ROOT, Some(next));
            let Some(bytes) = self.get(&name, self.limits.root)? else { break };
            let new = root.next(&bytes).map_err(|cause| cause.of(&*name))?;
            // 5.3.11, before the root is durable: a crash in between must not leave a state that a fast-forward
            // attack has frozen.
            let lost = |role: &str| match (root.role(role), new.role(role)) {
                (Some(old), Some(new)) => old.lost_key(new),
                _ => false,
            };
            if lost(role_type::TIMESTAMP) || lost(role_type::SNAPSHOT) {
                self.remove(role_type::TIMESTAMP)?;
                self.remove(role_type::SNAPSHOT)?;
            }
            self.write(role_type::ROOT, &bytes)?;
            (root, file) = (new, name);
        }
        // 5.3.10.
        self.check_expiry(&root).map_err(|cause| cause.of(file))?;
        Ok(root)
    }

    /// Section 5.4.
    fn update_timestamp(&mut self, root: &Root) -> Result<Timestamp, Error> {
        const FILE: &str = "timestamp.json";
        let authority = root.authority(role_type::TIMESTAMP);
        let trusted = self.trusted::<Timestamp>(authority)?.map(|stored| stored.value);
        let bytes = self.get_required(FILE, self.limits.timestamp)?;
        let new: Parsed<Timestamp> = authority.verify(&bytes).map_err(|cause| cause.of(FILE))?;
        let new = new.value;
        if let Some(trusted) = trusted {
            let [found, known] = [&new, &trusted].map(|timestamp| timestamp.header.version.get());
            if found < known {
                return Err(Cause::Rollback { found, trusted: known }.of(FILE));
            }
            // 5.4.3.1: one of the same version is discarded, and nothing else has changed. The rest is still
            // verified, since an earlier update may have ended here.
            if found == known {
                self.check_expiry(&trusted).map_err(|cause| cause.of(FILE))?;
                return Ok(trusted);
            }
            let [found, known] =
                [&new, &trusted].map(|timestamp| timestamp.snapshot().map(|meta| meta.version.get()));
            if let (Some(found), Some(trusted)) = (found, known)
                && found < trusted
            {
                let meta = "snapshot.json".to_owned();
                return Err(Cause::ListedRollback { meta, found, trusted }.of(FILE));
            }
        }
        self.check_validity(&new).map_err(|cause| cause.of(FILE))?;
        self.check_expiry(&new).map_err(|cause| cause.of(FILE))?;
        self.write(role_type::TIMESTAMP, &bytes)?;
        Ok(new)
    }

    /// Section 5.5.
    fn update_snapshot(&mut self, root: &Root, timestamp: &Timestamp) -> Result<Snapshot, Error> {
        let authority = root.authority(role_type::SNAPSHOT);
        let meta = timestamp.snapshot().ok_or(Cause::Missing).map_err(|cause| cause.of("timestamp.json"))?;
        let trusted = self.trusted::<Snapshot>(authority)?;
        if let Some(stored) = &trusted
            && self.is_current(stored, meta)
        {
            return Ok(stored.value.clone());
        }
        let version = meta.version.get();
        let name = metadata_file(role_type::SNAPSHOT, root.consistent_snapshot.then_some(version));
        let bytes = self.get_required(&name, meta.length.unwrap_or(self.limits.snapshot))?;
        let trusted = trusted.map(|stored| stored.value);
        let new =
            self.new_snapshot(authority, meta, trusted.as_ref(), &bytes).map_err(|cause| cause.of(&*name))?;
        self.write(role_type::SNAPSHOT, &bytes)?;
        Ok(new)
    }

    fn new_snapshot(
        &self,
        authority: Authority<'_>,
        meta: &MetaFile,
        trusted: Option<&Snapshot>,
        bytes: &[u8],
    ) -> Result<Snapshot, Cause> {
        let new: Snapshot = verify_listed(authority, meta, bytes)?;
        // 5.5.5.
        for (name, known) in trusted.iter().flat_map(|trusted| &trusted.meta) {
            let Some(listed) = new.meta.get(name) else { return Err(Cause::Removed { meta: name.clone() }) };
            let [found, trusted] = [listed, known].map(|meta| meta.version.get());
            if found < trusted {
                return Err(Cause::ListedRollback { meta: name.clone(), found, trusted });
            }
        }
        self.check_expiry(&new)?;
        Ok(new)
    }

    /// Sections 5.6.1 to 5.6.6, for top-level and delegated targets.
    pub(super) fn load_targets(
        &mut self,
        authority: Authority<'_>,
        snapshot: &Snapshot,
        consistent: bool,
    ) -> Result<Targets, Error> {
        let role = authority.role;
        let Some(meta) = snapshot.role(role) else {
            return Err(Cause::NotInSnapshot.of(metadata_file(role, None)));
        };
        if let Some(stored) = self.trusted::<Targets>(authority)?
            && self.is_current(&stored, meta)
        {
            return Ok(stored.value);
        }
        let name = metadata_file(role, consistent.then_some(meta.version.get()));
        let bytes = self.get_required(&name, meta.length.unwrap_or(self.limits.targets))?;
        let new: Targets = verify_listed(authority, meta, &bytes).map_err(|cause| cause.of(&*name))?;
        self.check_expiry(&new).map_err(|cause| cause.of(&*name))?;
        self.write(role, &bytes)?;
        Ok(new)
    }

    /// A file of the store, if the role's current keys signed it. Others are of no use, as if there were none.
    fn trusted<T: Role>(&self, authority: Authority<'_>) -> Result<Option<Stored<T>>, Error> {
        let Some(bytes) = self.read(authority.role)? else { return Ok(None) };
        Ok(authority.verify(&bytes).ok().map(|Parsed { value, .. }| Stored { value, bytes }))
    }

    /// Whether trusted metadata is what is listed now, so that it need not be fetched.
    fn is_current<T: Role>(&self, stored: &Stored<T>, meta: &MetaFile) -> bool {
        let Stored { value, bytes } = stored;
        value.header().version == meta.version
            && meta.verify(bytes).is_ok()
            && self.check_expiry(value).is_ok()
    }

    fn check_expiry<T: Role>(&self, value: &T) -> Result<(), Cause> {
        check_expiry(value, self.now)
    }

    fn check_validity(&self, new: &Timestamp) -> Result<(), Cause> {
        let expires = new.header.expires;
        let ahead = u64::try_from(expires.unix().saturating_sub(self.now)).unwrap_or(0);
        match self.limits.timestamp_validity {
            Some(limit) if ahead > limit => Err(Cause::ValidTooLong { expires, limit }),
            _ => Ok(()),
        }
    }

    fn get_required(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, Error> {
        self.get(name, limit)?.ok_or_else(|| Cause::Missing.of(name))
    }

    fn get(&mut self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let bytes =
            self.fetch.fetch(File::Metadata(name), limit).map_err(|error| Cause::Fetch(error).of(name))?;
        match &bytes {
            Some(bytes) if bytes.len() as u64 > limit => Err(Cause::TooLong { limit }.of(name)),
            _ => Ok(bytes),
        }
    }

    fn read(&self, role: &str) -> Result<Option<Vec<u8>>, Error> {
        self.store.read(role).map_err(|error| Cause::Store(error).of(format!("trusted {role}")))
    }

    fn write(&mut self, role: &str, bytes: &[u8]) -> Result<(), Error> {
        self.store.write(role, bytes).map_err(|error| Cause::Store(error).of(format!("trusted {role}")))
    }

    fn remove(&mut self, role: &str) -> Result<(), Error> {
        self.store.remove(role).map_err(|error| Cause::Store(error).of(format!("trusted {role}")))
    }
}

fn check_expiry<T: Role>(value: &T, now: i64) -> Result<(), Cause> {
    let expired = value.header().expires;
    if expired.unix() > now { Ok(()) } else { Err(Cause::Expired { expired }) }
}

/// Digests, signatures and version of a file that other metadata lists.
fn verify_listed<T: Role>(authority: Authority<'_>, meta: &MetaFile, bytes: &[u8]) -> Result<T, Cause> {
    meta.verify(bytes)?;
    let parsed: Parsed<T> = authority.verify(bytes)?;
    let (found, expected) = (parsed.value.header().version.get(), meta.version.get());
    if found != expected {
        return Err(Cause::Version { found, expected });
    }
    Ok(parsed.value)
}
