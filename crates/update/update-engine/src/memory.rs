//! State that persists across checks and boots.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use release::{Digest, KeySet, Version, files};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use update_core::trust::{Ban, Seen};

use crate::lock::lock;
use crate::places::Places;

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
pub struct Memory(Places);

#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not what was written there: {why}; remove it to begin anew")]
    Damaged { path: PathBuf, why: String },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
}

const SEEN: &str = "trust.json";
const SEEN_LOCK: &str = "trust.lock";
const BANS: &str = "bans.json";
const BANS_LOCK: &str = "bans.lock";
const HOLD: &str = "hold.json";
const ATTEMPTS: &str = "attempts.json";
/// Preferences, named as in CoreOS.
const PREVIOUS: &str = "previous-version";
const ALEPH: &str = "aleph-version";

impl Memory {
    #[must_use]
    pub fn new(places: &Places) -> Self {
        Self(places.clone())
    }

    /// The rollback protection. An unreadable file is an error, never a reset.
    pub fn seen(&self) -> Result<Seen, MemoryError> {
        Ok(self.read(SEEN)?.unwrap_or_default())
    }

    /// Changes the rollback protection under a lock, since the daemon and `update-agent` may run concurrently. Writes
    /// only changes.
    pub fn change_seen<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> Result<T, MemoryError> {
        let _lock = self.lock(SEEN_LOCK)?;
        let before = self.seen()?;
        let mut seen = before.clone();
        let changed = change(&mut seen);
        if seen != before {
            self.write(SEEN, &seen)?;
        }
        Ok(changed)
    }

    /// The newest key set that was in force. An unreadable file is an error: it revokes keys.
    pub fn key_set(&self) -> Result<Option<KeySet>, MemoryError> {
        let path = self.0.memory(files::KEYS);
        let Some(bytes) = bytes(&path)? else { return Ok(None) };
        let set = KeySet::parse(&bytes);
        set.map(Some).map_err(|error| MemoryError::Damaged { path, why: error.to_string() })
    }

    pub fn set_key_set(&self, set: &KeySet) -> Result<(), MemoryError> {
        let path = self.0.memory(files::KEYS);
        match set.to_bytes() {
            Ok(bytes) => put(path, &bytes),
            Err(error) => Err(MemoryError::Write { path, source: io::Error::other(error) }),
        }
    }

    pub fn bans(&self) -> Result<Vec<Ban>, MemoryError> {
        Ok(self.read(BANS)?.unwrap_or_default())
    }

    /// Changes the bans under a lock, since the daemon and `update-agent` may run concurrently.
    pub fn change_bans<T>(&self, change: impl FnOnce(&mut Vec<Ban>) -> T) -> Result<T, MemoryError> {
        let _lock = self.lock(BANS_LOCK)?;
        let mut bans = self.bans()?;
        let changed = change(&mut bans);
        self.write(BANS, &bans)?;
        Ok(changed)
    }

    pub fn hold(&self) -> Result<Option<Hold>, MemoryError> {
        self.read(HOLD)
    }

    pub fn set_hold(&self, hold: Option<&Hold>) -> Result<(), MemoryError> {
        match hold {
            Some(hold) => self.write(HOLD, hold),
            None => remove(self.0.memory(HOLD)),
        }
    }

    pub fn attempts(&self) -> Result<Attempts, MemoryError> {
        Ok(self.read(ATTEMPTS)?.unwrap_or_default())
    }

    pub fn set_attempts(&self, attempts: &Attempts) -> Result<(), MemoryError> {
        self.write(ATTEMPTS, attempts)
    }

    /// The version before the last update. `None` before the first update, empty once reported.
    pub fn previous_version(&self) -> Result<Option<String>, MemoryError> {
        self.preference(PREVIOUS)
    }

    pub fn set_previous_version(&self, version: &str) -> Result<(), MemoryError> {
        self.set_preference(PREVIOUS, version)
    }

    /// The version of the machine's first boot. Written at the first call.
    pub fn aleph_version(&self, running: &Version) -> Result<String, MemoryError> {
        if let Some(version) = self.preference(ALEPH)? {
            return Ok(version);
        }
        self.set_preference(ALEPH, &running.to_string())?;
        Ok(running.to_string())
    }

    fn lock(&self, file: &str) -> Result<Flock<File>, MemoryError> {
        let path = self.0.memory(file);
        lock(&path, FlockArg::LockExclusive).map_err(|source| MemoryError::Write { path, source })
    }

    fn preference(&self, key: &str) -> Result<Option<String>, MemoryError> {
        let path = self.0.preference(key);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MemoryError::Read { path, source }),
        }
    }

    fn set_preference(&self, key: &str, value: &str) -> Result<(), MemoryError> {
        put(self.0.preference(key), value.as_bytes())
    }

    fn read<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>, MemoryError> {
        let path = self.0.memory(file);
        let Some(bytes) = bytes(&path)? else { return Ok(None) };
        let value = serde_json::from_slice(&bytes);
        value.map(Some).map_err(|error| MemoryError::Damaged { path, why: error.to_string() })
    }

    fn write(&self, file: &str, value: &impl Serialize) -> Result<(), MemoryError> {
        let path = self.0.memory(file);
        let mut bytes = serde_json::to_vec_pretty(value)
            .map_err(|error| MemoryError::Write { path: path.clone(), source: error.into() })?;
        bytes.push(b'\n');
        put(path, &bytes)
    }
}

/// `None` if the file does not exist.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>, MemoryError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(MemoryError::Read { path: path.to_owned(), source }),
    }
}

/// Replaces the file atomically and durably.
pub fn put(path: PathBuf, bytes: &[u8]) -> Result<(), MemoryError> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| service::file::replace(&path, bytes, 0o644))
        .map_err(|source| MemoryError::Write { path, source })
}

pub fn remove(path: PathBuf) -> Result<(), MemoryError> {
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(MemoryError::Write { path, source: error }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_there_again_and_what_is_damaged_is_told() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path());
        let memory = Memory::new(&places);
        assert_eq!(memory.seen().unwrap(), Seen::default());
        let seen = Seen { epoch: 1, version: Some(Version::new(1, 2, 3)), issued: 5, keys: 2 };
        memory.change_seen(|kept| *kept = seen.clone()).unwrap();
        assert_eq!(memory.seen().unwrap(), seen);
        // The format before key sets existed.
        fs::write(places.memory(SEEN), "{\"epoch\":1,\"version\":\"1.2.3\",\"issued\":5}").unwrap();
        assert_eq!(memory.seen().unwrap(), Seen { keys: 0, ..seen.clone() });
        fs::write(places.memory(SEEN), "{\"epoch\":1,").unwrap();
        let error = memory.seen().unwrap_err().to_string();
        assert!(error.contains("trust.json is not what was written there"), "{error}");
        assert_eq!(memory.key_set().unwrap(), None);
        fs::write(places.memory(files::KEYS), "{").unwrap();
        let error = memory.key_set().unwrap_err().to_string();
        assert!(error.contains("keys.json is not what was written there"), "{error}");
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
    fn concurrent_changes_are_all_kept() {
        const THREADS: u64 = 4;
        const CHANGES: u64 = 25;
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path());
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let memory = Memory::new(&places);
                    for _ in 0..CHANGES {
                        memory.change_seen(|seen| seen.issued += 1).unwrap();
                    }
                });
            }
        });
        assert_eq!(Memory::new(&places).seen().unwrap().issued, THREADS * CHANGES);
    }
}
