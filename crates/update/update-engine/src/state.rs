//! State that persists across checks and boots.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use release::{Digest, Version};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use update_core::freshness::Freshness;
use update_core::trust::{Ban, TrustState};

use crate::lock::lock;
use crate::paths::Paths;

/// An operator's hold: no update is installed automatically.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// For operators.
    pub reason: String,
    /// Unix time in seconds.
    pub since: u64,
}

/// Failed attempts with one release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    pub root_hash: Option<Digest>,
    /// With a delta.
    pub delta: u32,
}

#[derive(Debug, Clone)]
pub struct StateStore(Paths);

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is damaged: {why}; remove the file to reset the state")]
    Damaged { path: PathBuf, why: String },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
}

const TRUST: &str = "trust.json";
const TRUST_LOCK: &str = "trust.lock";
const FRESHNESS: &str = "freshness.json";
const BANS: &str = "bans.json";
const BANS_LOCK: &str = "bans.lock";
const HOLD: &str = "hold.json";
const ATTEMPTS: &str = "attempts.json";
/// Preferences, named as in CoreOS.
const PREVIOUS: &str = "previous-version";
const ALEPH: &str = "aleph-version";

impl StateStore {
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self(paths.clone())
    }

    /// The rollback protection. An unreadable file is an error, never a reset.
    pub fn trust_state(&self) -> Result<TrustState, StateError> {
        Ok(self.read(TRUST)?.unwrap_or_default())
    }

    /// Changes the rollback protection under a lock, since the daemon and `update-agent` may run concurrently. Writes
    /// only changes.
    pub fn update_trust_state<T>(&self, change: impl FnOnce(&mut TrustState) -> T) -> Result<T, StateError> {
        let _lock = self.lock(TRUST_LOCK)?;
        let before = self.trust_state()?;
        let mut state = before.clone();
        let changed = change(&mut state);
        if state != before {
            self.write(TRUST, &state)?;
        }
        Ok(changed)
    }

    /// Of the timestamp. Unlike the rollback protection it protects nothing: an unreadable file is a new start.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        self.read(FRESHNESS).ok().flatten().unwrap_or_default()
    }

    /// Changes it under a lock, and writes only changes.
    pub fn update_freshness(&self, change: impl FnOnce(&mut Freshness)) -> Result<(), StateError> {
        let _lock = self.lock(TRUST_LOCK)?;
        let before = self.freshness();
        let mut freshness = before.clone();
        change(&mut freshness);
        if freshness == before { Ok(()) } else { self.write(FRESHNESS, &freshness) }
    }

    pub fn bans(&self) -> Result<Vec<Ban>, StateError> {
        Ok(self.read(BANS)?.unwrap_or_default())
    }

    /// Changes the bans under a lock, since the daemon and `update-agent` may run concurrently.
    pub fn update_bans<T>(&self, change: impl FnOnce(&mut Vec<Ban>) -> T) -> Result<T, StateError> {
        let _lock = self.lock(BANS_LOCK)?;
        let mut bans = self.bans()?;
        let changed = change(&mut bans);
        self.write(BANS, &bans)?;
        Ok(changed)
    }

    pub fn hold(&self) -> Result<Option<Hold>, StateError> {
        self.read(HOLD)
    }

    pub fn set_hold(&self, hold: Option<&Hold>) -> Result<(), StateError> {
        match hold {
            Some(hold) => self.write(HOLD, hold),
            None => remove_file(self.0.state_file(HOLD)),
        }
    }

    pub fn attempts(&self) -> Result<Attempts, StateError> {
        Ok(self.read(ATTEMPTS)?.unwrap_or_default())
    }

    pub fn set_attempts(&self, attempts: &Attempts) -> Result<(), StateError> {
        self.write(ATTEMPTS, attempts)
    }

    /// The version before the last update. `None` before the first update, empty once reported.
    pub fn previous_version(&self) -> Result<Option<String>, StateError> {
        self.preference(PREVIOUS)
    }

    pub fn set_previous_version(&self, version: &str) -> Result<(), StateError> {
        self.set_preference(PREVIOUS, version)
    }

    /// The version of the machine's first boot. Written at the first call.
    pub fn aleph_version(&self, running: &Version) -> Result<String, StateError> {
        if let Some(version) = self.preference(ALEPH)? {
            return Ok(version);
        }
        self.set_preference(ALEPH, &running.to_string())?;
        Ok(running.to_string())
    }

    fn lock(&self, file: &str) -> Result<Flock<File>, StateError> {
        let path = self.0.state_file(file);
        lock(&path, FlockArg::LockExclusive).map_err(|source| StateError::Write { path, source })
    }

    fn preference(&self, key: &str) -> Result<Option<String>, StateError> {
        let path = self.0.preference(key);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Read { path, source }),
        }
    }

    fn set_preference(&self, key: &str, value: &str) -> Result<(), StateError> {
        replace_file(self.0.preference(key), value.as_bytes())
    }

    fn read<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>, StateError> {
        let path = self.0.state_file(file);
        let Some(bytes) = bytes(&path)? else { return Ok(None) };
        let value = serde_json::from_slice(&bytes);
        value.map(Some).map_err(|error| StateError::Damaged { path, why: error.to_string() })
    }

    fn write(&self, file: &str, value: &impl Serialize) -> Result<(), StateError> {
        let path = self.0.state_file(file);
        let mut bytes = serde_json::to_vec_pretty(value)
            .map_err(|error| StateError::Write { path: path.clone(), source: error.into() })?;
        bytes.push(b'\n');
        replace_file(path, &bytes)
    }
}

/// `None` if the file does not exist.
pub fn bytes(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::Read { path: path.to_owned(), source }),
    }
}

/// Replaces the file atomically and durably.
pub fn replace_file(path: PathBuf, bytes: &[u8]) -> Result<(), StateError> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| service::file::replace(&path, bytes, 0o644))
        .map_err(|source| StateError::Write { path, source })
}

pub fn remove_file(path: PathBuf) -> Result<(), StateError> {
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StateError::Write { path, source: error }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use update_core::trust::Anchor;

    use super::*;

    #[test]
    fn state_persists_and_damage_is_reported() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        let memory = StateStore::new(&paths);
        assert_eq!(memory.trust_state().unwrap(), TrustState::default());
        let seen =
            TrustState { anchor: Anchor::Local, root: 2, epoch: 1, version: Some(Version::new(1, 2, 3)) };
        memory.update_trust_state(|stored| *stored = seen.clone()).unwrap();
        assert_eq!(memory.trust_state().unwrap(), seen);
        fs::write(paths.state_file(TRUST), "{\"epoch\":1,").unwrap();
        let error = memory.trust_state().unwrap_err().to_string();
        assert!(error.contains("trust.json is damaged"), "{error}");
        assert_eq!(memory.previous_version().unwrap(), None);
        memory.set_previous_version("").unwrap();
        assert_eq!(memory.previous_version().unwrap().as_deref(), Some(""));
        assert_eq!(memory.aleph_version(&Version::new(1, 0, 0)).unwrap(), "1.0.0");
        assert_eq!(memory.aleph_version(&Version::new(2, 0, 0)).unwrap(), "1.0.0");
        let hold = Hold { reason: "x".into(), since: 1 };
        memory.set_hold(Some(&hold)).unwrap();
        assert_eq!(memory.hold().unwrap(), Some(hold));
        memory.set_hold(None).unwrap();
        memory.set_hold(None).unwrap();
        assert_eq!(memory.hold().unwrap(), None);
    }

    #[test]
    fn concurrent_changes_are_not_lost() {
        const THREADS: u64 = 4;
        const CHANGES: u64 = 25;
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let memory = StateStore::new(&paths);
                    for _ in 0..CHANGES {
                        memory.update_trust_state(|seen| seen.epoch += 1).unwrap();
                    }
                });
            }
        });
        assert_eq!(StateStore::new(&paths).trust_state().unwrap().epoch, THREADS * CHANGES);
    }
}
