//! The sets of keys of each application: taken as a machine would take them, kept as files, served beside what a
//! channel has.
//!
//! The server never makes or signs one: no root key is here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use release::{KeySet, Keys, MAX_KEY_SET_SIGNATURES, MetadataError, Role, files};
use update_core::key_sets::{Clock, SetRefusal, Step, follow};

use crate::limits::KEY_SETS;

const FOLDER: &str = "key-sets";

#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    #[error("{0}")]
    Io(PathBuf, #[source] io::Error),
    #[error("{0} is not what was written there")]
    Damaged(PathBuf, #[source] Box<KeySetError>),
    #[error("the set cannot be read")]
    Metadata(#[from] MetadataError),
    #[error("the signatures have {0} bytes; {MAX_KEY_SET_SIGNATURES} are the most")]
    TooLong(usize),
    #[error("machines would refuse it")]
    Refused(#[from] SetRefusal),
    #[error("key set {0} is here already, and is another one: what was published never changes")]
    Different(u64),
    #[error("key set {first} is the first here: {found} is older")]
    Older { found: u64, first: u64 },
    #[error("there are {0} sets already, which is the most")]
    Full(usize),
}

/// A set as it came.
#[derive(Debug, Clone)]
struct Held {
    set: KeySet,
    bytes: Vec<u8>,
    signatures: String,
}

/// By application, in the order of their numbers, without a gap.
pub struct KeySets {
    folder: PathBuf,
    held: Mutex<BTreeMap<String, Vec<Held>>>,
}

impl KeySets {
    /// # Errors
    /// What is kept cannot be read, or is damaged.
    pub fn open(data: &Path) -> Result<Self, KeySetError> {
        let folder = data.join(FOLDER);
        let failed = |error| KeySetError::Io(folder.clone(), error);
        let mut held = BTreeMap::new();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { folder, held: Mutex::new(held) });
            }
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            held.insert(entry.file_name().to_string_lossy().into_owned(), read(&entry.path())?);
        }
        Ok(Self { folder, held: Mutex::new(held) })
    }

    /// Takes a set behind those that are here, or the first. Once more for the same is fine. It writes to the disk.
    ///
    /// # Errors
    /// Machines would refuse it, or it cannot be kept.
    pub fn take(&self, app: &str, set: &str, signatures: &str) -> Result<u64, KeySetError> {
        let mut held = self.held.lock();
        let sets = held.entry(app.to_owned()).or_default();
        let new = judge(sets, set.as_bytes(), signatures)?;
        let epoch = new.set.epoch;
        if sets.last().is_some_and(|last| epoch <= last.set.epoch) {
            return Ok(epoch);
        }
        if sets.len() >= KEY_SETS {
            return Err(KeySetError::Full(sets.len()));
        }
        let folder = self.folder.join(app);
        fs::create_dir_all(&folder).map_err(|error| KeySetError::Io(folder.clone(), error))?;
        // The set comes last: one that is there has its signatures.
        for (name, bytes) in
            [(files::keys_signatures(epoch), signatures.as_bytes()), (files::keys(epoch), set.as_bytes())]
        {
            let path = folder.join(name);
            service::file::replace(&path, bytes, 0o644).map_err(|error| KeySetError::Io(path, error))?;
        }
        sets.push(new);
        Ok(epoch)
    }

    /// The names of all that an application has, with the size of each.
    pub fn files(&self, app: &str) -> Vec<(String, usize)> {
        let held = self.held.lock();
        let sets = held.get(app).into_iter().flatten();
        sets.flat_map(|held| {
            let epoch = held.set.epoch;
            [(files::keys(epoch), held.bytes.len()), (files::keys_signatures(epoch), held.signatures.len())]
        })
        .collect()
    }

    /// A file of that list.
    pub fn file(&self, app: &str, name: &str) -> Option<Vec<u8>> {
        let held = self.held.lock();
        let (set, is_signature) = match name.strip_suffix(".sig") {
            Some(set) => (set, true),
            None => (name, false),
        };
        let epoch = files::epoch_of(set)?;
        let found = held.get(app)?.iter().find(|held| held.set.epoch == epoch)?;
        Some(if is_signature { found.signatures.clone().into_bytes() } else { found.bytes.clone() })
    }

    /// The newest set.
    pub fn newest(&self, app: &str) -> Option<KeySet> {
        self.held.lock().get(app)?.last().map(|held| held.set.clone())
    }

    /// Who signs the releases of an application; None where it has no set.
    pub fn release_keys(&self, app: &str) -> Option<Keys> {
        self.newest(app).map(|set| set.keys(Role::Release))
    }
}

/// The set as it is here, or as it may come behind those that are.
fn judge(sets: &[Held], bytes: &[u8], signatures: &str) -> Result<Held, KeySetError> {
    if signatures.len() > MAX_KEY_SET_SIGNATURES {
        return Err(KeySetError::TooLong(signatures.len()));
    }
    let set = KeySet::parse(bytes)?;
    let epoch = set.epoch;
    let held = || Held { set: set.clone(), bytes: bytes.to_vec(), signatures: signatures.to_owned() };
    let Some((first, last)) = sets.first().zip(sets.last()) else {
        let own = set.signed_by(bytes, signatures).map_err(|why| SetRefusal::Signature { epoch, why })?;
        if own.len() < set.threshold {
            let found = own.into_iter().cloned().collect();
            return Err(SetRefusal::TooFew { epoch, of: epoch, wanted: set.threshold, found }.into());
        }
        return Ok(held());
    };
    if let Some(here) = sets.iter().find(|here| here.set.epoch == epoch) {
        return if here.bytes == bytes { Ok(held()) } else { Err(KeySetError::Different(epoch)) };
    }
    if epoch < first.set.epoch {
        return Err(KeySetError::Older { found: epoch, first: first.set.epoch });
    }
    // One on the way may be out of date: whether the last is, machines judge.
    let clock = Clock { now: 0, build_time: 0 };
    follow(&last.set, &[Step { bytes: bytes.to_vec(), signatures: signatures.to_owned() }], clock)?;
    Ok(held())
}

/// The sets in a folder.
fn read(folder: &Path) -> Result<Vec<Held>, KeySetError> {
    let failed = |error| KeySetError::Io(folder.to_owned(), error);
    let mut epochs = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        epochs.extend(files::epoch_of(&name.to_string_lossy()));
    }
    epochs.sort_unstable();
    let mut sets = Vec::new();
    for epoch in epochs {
        let text = |name: String| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|error| KeySetError::Io(path, error))
        };
        let (set, signatures) = (text(files::keys(epoch))?, text(files::keys_signatures(epoch))?);
        let damaged = |error| KeySetError::Damaged(folder.join(files::keys(epoch)), Box::new(error));
        sets.push(judge(&sets, set.as_bytes(), &signatures).map_err(damaged)?);
    }
    Ok(sets)
}
