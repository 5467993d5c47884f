//! The key sets of each application: verified as machines verify them, stored as files, offered with each update.
//!
//! The server never creates or signs a set: it has no root key.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use release::{KeySet, Keys, MAX_KEY_SET_SIGNATURES, MetadataError, Role, files};
use update_core::key_sets::{ChainError, Clock, SignedKeySet, verify_chain};

use crate::limits::KEY_SETS;

const FOLDER: &str = "key-sets";

#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    #[error("cannot access {0}")]
    Io(PathBuf, #[source] io::Error),
    #[error("{0} is damaged")]
    Damaged(PathBuf, #[source] Box<KeySetError>),
    #[error("invalid key set")]
    Metadata(#[from] MetadataError),
    #[error("the signatures have {0} bytes; the maximum is {MAX_KEY_SET_SIGNATURES}")]
    TooLong(usize),
    #[error("machines would reject the key set")]
    Refused(#[from] ChainError),
    #[error("key set {0} is already published with other content: published key sets are immutable")]
    AlreadyPublished(u64),
    #[error("key set {found} is older than {first}, the first one on this server")]
    Older { found: u64, first: u64 },
    #[error("too many key sets: the maximum is {0}")]
    TooMany(usize),
}

/// A set in memory, with its original bytes.
#[derive(Debug, Clone)]
struct StoredKeySet {
    set: KeySet,
    bytes: Vec<u8>,
    signatures: String,
}

/// Key sets by application, ordered by epoch, without gaps.
pub struct KeySets {
    folder: PathBuf,
    stored: Mutex<BTreeMap<String, Vec<StoredKeySet>>>,
}

impl KeySets {
    /// # Errors
    /// A stored set cannot be read or is damaged.
    pub fn open(data: &Path) -> Result<Self, KeySetError> {
        let folder = data.join(FOLDER);
        let failed = |error| KeySetError::Io(folder.clone(), error);
        let mut stored = BTreeMap::new();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { folder, stored: Mutex::new(stored) });
            }
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            stored.insert(entry.file_name().to_string_lossy().into_owned(), load_folder(&entry.path())?);
        }
        Ok(Self { folder, stored: Mutex::new(stored) })
    }

    /// Adds the first set, or the successor of the newest. Idempotent. Blocks on disk I/O.
    ///
    /// # Errors
    /// Machines would reject the set, or it cannot be stored.
    pub fn add(&self, app: &str, set: &str, signatures: &str) -> Result<u64, KeySetError> {
        let mut stored = self.stored.lock();
        let sets = stored.entry(app.to_owned()).or_default();
        let new = validate(sets, set.as_bytes(), signatures)?;
        let epoch = new.set.epoch;
        if sets.last().is_some_and(|last| epoch <= last.set.epoch) {
            return Ok(epoch);
        }
        if sets.len() >= KEY_SETS {
            return Err(KeySetError::TooMany(sets.len()));
        }
        let folder = self.folder.join(app);
        fs::create_dir_all(&folder).map_err(|error| KeySetError::Io(folder.clone(), error))?;
        // The set is written last: if it exists, so do its signatures.
        for (name, bytes) in
            [(files::keys_signatures(epoch), signatures.as_bytes()), (files::keys(epoch), set.as_bytes())]
        {
            let path = folder.join(name);
            service::file::replace(&path, bytes, 0o644).map_err(|error| KeySetError::Io(path, error))?;
        }
        sets.push(new);
        Ok(epoch)
    }

    /// The names and sizes of all key set files of an application.
    pub fn files(&self, app: &str) -> Vec<(String, usize)> {
        let stored = self.stored.lock();
        let sets = stored.get(app).into_iter().flatten();
        sets.flat_map(|stored| {
            let epoch = stored.set.epoch;
            [
                (files::keys(epoch), stored.bytes.len()),
                (files::keys_signatures(epoch), stored.signatures.len()),
            ]
        })
        .collect()
    }

    /// The content of such a file.
    pub fn file(&self, app: &str, name: &str) -> Option<Vec<u8>> {
        let stored = self.stored.lock();
        let (set, is_signature) = match name.strip_suffix(".sig") {
            Some(set) => (set, true),
            None => (name, false),
        };
        let epoch = files::epoch_of(set)?;
        let found = stored.get(app)?.iter().find(|stored| stored.set.epoch == epoch)?;
        Some(if is_signature { found.signatures.clone().into_bytes() } else { found.bytes.clone() })
    }

    pub fn newest(&self, app: &str) -> Option<KeySet> {
        self.stored.lock().get(app)?.last().map(|stored| stored.set.clone())
    }

    /// The release keys of an application; `None` without a key set.
    pub fn release_keys(&self, app: &str) -> Option<Keys> {
        self.newest(app).map(|set| set.keys(Role::Release))
    }
}

/// Verifies a set: the first one by its own keys, any other as the successor of the newest.
fn validate(sets: &[StoredKeySet], bytes: &[u8], signatures: &str) -> Result<StoredKeySet, KeySetError> {
    if signatures.len() > MAX_KEY_SET_SIGNATURES {
        return Err(KeySetError::TooLong(signatures.len()));
    }
    let set = KeySet::parse(bytes)?;
    let epoch = set.epoch;
    let stored =
        || StoredKeySet { set: set.clone(), bytes: bytes.to_vec(), signatures: signatures.to_owned() };
    let Some((first, last)) = sets.first().zip(sets.last()) else {
        let own_signers =
            set.signed_by(bytes, signatures).map_err(|why| ChainError::Signature { epoch, why })?;
        if own_signers.len() < set.threshold {
            let found = own_signers.into_iter().cloned().collect();
            return Err(ChainError::TooFew { epoch, of: epoch, wanted: set.threshold, found }.into());
        }
        return Ok(stored());
    };
    if let Some(existing) = sets.iter().find(|existing| existing.set.epoch == epoch) {
        return if existing.bytes == bytes {
            Ok(stored())
        } else {
            Err(KeySetError::AlreadyPublished(epoch))
        };
    }
    if epoch < first.set.epoch {
        return Err(KeySetError::Older { found: epoch, first: first.set.epoch });
    }
    // A set in the chain may be expired. Machines check whether the newest one is.
    let clock = Clock { now: 0, build_time: 0 };
    verify_chain(
        &last.set,
        &[SignedKeySet { bytes: bytes.to_vec(), signatures: signatures.to_owned() }],
        clock,
    )?;
    Ok(stored())
}

/// Loads the sets in a folder.
fn load_folder(folder: &Path) -> Result<Vec<StoredKeySet>, KeySetError> {
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
        sets.push(validate(&sets, set.as_bytes(), &signatures).map_err(damaged)?);
    }
    Ok(sets)
}
