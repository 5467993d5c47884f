//! Key sets in a folder: `keys.1.json`, `keys.2.json` and so on, each with the signatures collected so far.
//!
//! Root keys are stored separately, so a set is passed around until it has enough signatures.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use release::{
    FileName, KeySet, KeyText, KeyTextError, MAX_KEY_SET, MAX_KEY_SET_SIGNATURES, MetadataError, NameError,
    NamedKey, SignatureError, files, split_signatures,
};

use crate::keys::{KeysError, SigningKey, write_file};
use crate::password::Passwords;

/// Number of root keys to generate.
pub(crate) const ROOTS: usize = 3;

/// Why a key set was not read or changed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum KeySetError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot rename {path}")]
    Rename { path: PathBuf, source: io::Error },
    #[error("{0} already exists: key sets are immutable")]
    Exists(PathBuf),
    #[error("there is no key set in {0}")]
    None(PathBuf),
    #[error("cannot parse {path}")]
    Metadata { path: PathBuf, source: MetadataError },
    #[error("invalid key set")]
    New(#[from] MetadataError),
    #[error("cannot parse {path}")]
    Key { path: PathBuf, source: KeyTextError },
    #[error("cannot verify {path}")]
    Signature { path: PathBuf, source: SignatureError },
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{path} contains set {found}, its name requires {wanted}")]
    Number { path: PathBuf, found: u64, wanted: u64 },
    #[error("invalid key set name {0}: expected keys.N.json")]
    InvalidName(PathBuf),
    #[error("the previous set must be in the same folder: {0}")]
    NoPrevious(PathBuf),
    #[error("{key} is neither a root key of set {epoch} nor of the previous set")]
    UnknownKey { key: PathBuf, epoch: u64 },
    #[error("set {epoch} is not fully signed: {missing}")]
    Incomplete { epoch: u64, missing: String },
    #[error("each of the {ROOTS} root keys needs a folder of its own: {0} given")]
    RootFolders(usize),
    #[error("each of the {ROOTS} root keys needs a folder of its own: {0} is given twice")]
    SameRootFolder(PathBuf),
    #[error("there is no {role} key `{name}` in set {epoch}")]
    NoKey { role: &'static str, name: String, epoch: u64 },
}

/// A key set as served, with its concatenated signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedSet {
    /// Of the set in `bytes`.
    pub epoch: u64,
    /// `keys.N.json`.
    pub bytes: Vec<u8>,
    /// `keys.N.json.sig`.
    pub signatures: String,
}

/// A key set and its signers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySetStatus {
    /// Of the set's file.
    pub path: PathBuf,
    /// As parsed; its signatures may be incomplete.
    pub set: KeySet,
    /// The preceding set, if any, and those of its root keys that signed.
    pub previous: Option<(KeySet, Vec<FileName>)>,
    /// Those of its own root keys that signed.
    pub own: Vec<FileName>,
}

impl KeySetStatus {
    /// Whether machines accept it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// The missing signatures, one line per set whose threshold is not reached.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let previous = self.previous.as_ref().map(|(set, found)| (set, found));
        previous
            .into_iter()
            .chain([(&self.set, &self.own)])
            .filter_map(|(of, found)| missing_signatures(of, found))
            .collect()
    }
}

fn missing_signatures(of: &KeySet, found: &[FileName]) -> Option<String> {
    let more = of.threshold.checked_sub(found.len()).filter(|more| *more > 0)?;
    let names = of.root.iter().map(|key| &key.name).filter(|name| !found.contains(name));
    let names: Vec<_> = names.map(FileName::as_str).collect();
    Some(format!("{more} of {} (root keys of set {}) must sign", names.join(", "), of.epoch))
}

/// A key from a `.pub` file, named after the file.
pub(crate) fn named(path: &Path) -> Result<NamedKey, KeySetError> {
    let read = |source| KeySetError::Read { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(read)?;
    let key = KeyText::of_file(&text).map_err(|source| KeySetError::Key { path: path.to_owned(), source })?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(NamedKey { name: name.parse()?, key })
}

pub(crate) fn public_keys(folder: &Path) -> Result<Vec<NamedKey>, KeySetError> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "pub"));
    paths.sort();
    paths.iter().map(|path| named(path)).collect()
}

/// Writes a new set with the signatures of `secrets`.
pub(crate) fn write(
    folder: &Path,
    set: &KeySet,
    secrets: &[SigningKey],
) -> Result<KeySetStatus, KeySetError> {
    let path = folder.join(files::keys(set.epoch));
    if path.exists() {
        return Err(KeySetError::Exists(path));
    }
    let bytes = set.to_bytes()?;
    let mut signatures = String::new();
    for secret in secrets {
        signatures += &signature(secret, set, &bytes)?;
    }
    // The set is written last: if it exists, so do its initial signatures.
    write_file(&folder.join(files::keys_signatures(set.epoch)), &signatures, 0o644)?;
    write_file(&path, &String::from_utf8_lossy(&bytes), 0o644)?;
    status(&path)
}

fn signature(secret: &SigningKey, set: &KeySet, bytes: &[u8]) -> Result<String, KeySetError> {
    Ok(secret.sign(bytes, &format!("keys {} {}", set.epoch, set.expires))?)
}

/// The status of a set. The preceding set must be in the same folder.
///
/// # Errors
/// A file is missing or invalid.
pub fn status(path: &Path) -> Result<KeySetStatus, KeySetError> {
    let (set, bytes) = read(path)?;
    let signatures = signatures(path)?;
    let failed = |source| KeySetError::Signature { path: signatures_path(path), source };
    let by = |of: &KeySet| -> Result<Vec<FileName>, KeySetError> {
        let found = of.signed_by(&bytes, &signatures).map_err(failed)?;
        Ok(found.into_iter().cloned().collect())
    };
    let previous = match set.epoch {
        1 => None,
        epoch => {
            let previous_path = path.with_file_name(files::keys(epoch - 1));
            if !previous_path.exists() {
                return Err(KeySetError::NoPrevious(previous_path));
            }
            let (previous, _) = read(&previous_path)?;
            let found = by(&previous)?;
            Some((previous, found))
        }
    };
    Ok(KeySetStatus { path: path.to_owned(), own: by(&set)?, set, previous })
}

fn read(path: &Path) -> Result<(KeySet, Vec<u8>), KeySetError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let wanted = files::epoch_of(&name).ok_or_else(|| KeySetError::InvalidName(path.to_owned()))?;
    let bytes = read_limited(path, MAX_KEY_SET)?;
    let set =
        KeySet::parse(&bytes).map_err(|source| KeySetError::Metadata { path: path.to_owned(), source })?;
    if set.epoch != wanted {
        return Err(KeySetError::Number { path: path.to_owned(), found: set.epoch, wanted });
    }
    Ok((set, bytes))
}

fn signatures_path(path: &Path) -> PathBuf {
    path.with_extension("json.sig")
}

/// Empty if the file does not exist yet.
fn signatures(path: &Path) -> Result<String, KeySetError> {
    let path = signatures_path(path);
    if !path.exists() {
        return Ok(String::new());
    }
    Ok(String::from_utf8_lossy(&read_limited(&path, MAX_KEY_SET_SIGNATURES)?).into_owned())
}

/// Reads one byte more than the limit, which suffices to detect excess.
fn read_limited(path: &Path, limit: usize) -> Result<Vec<u8>, KeySetError> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path)
        .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, limit as u64 + 1), &mut bytes));
    read.map_err(|source| KeySetError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}

/// Adds the signature of a root key of the set, or of the preceding one. Idempotent.
///
/// # Errors
/// The key is not such a key, or its password is wrong.
pub fn sign_set(path: &Path, key: &Path, passwords: &mut dyn Passwords) -> Result<KeySetStatus, KeySetError> {
    let (previous_status, secret) = (status(path)?, SigningKey::unlock(key, passwords)?);
    let public = secret.public()?;
    let known = |set: &KeySet| set.root.iter().any(|root| root.key == public);
    let previous = previous_status.previous.as_ref().is_some_and(|(set, _)| known(set));
    if !previous && !known(&previous_status.set) {
        return Err(KeySetError::UnknownKey { key: key.to_owned(), epoch: previous_status.set.epoch });
    }
    let (_, bytes) = read(path)?;
    add(path, &previous_status, &signature(&secret, &previous_status.set, &bytes)?)
}

/// Adds the signatures of copies that were signed elsewhere. Ignores known ones.
///
/// # Errors
/// A file is not a signature file, or contains a signature of an unauthorized key or of other data.
pub fn merge_signatures(path: &Path, others: &[PathBuf]) -> Result<KeySetStatus, KeySetError> {
    let mut status = status(path)?;
    for other in others {
        let text = String::from_utf8_lossy(&read_limited(other, MAX_KEY_SET_SIGNATURES)?).into_owned();
        let (_, bytes) = read(path)?;
        for signature in split_signatures(&text) {
            let failed = |source| KeySetError::Signature { path: other.clone(), source };
            let mut by = status.set.signed_by(&bytes, &signature).map_err(failed)?.len();
            if let Some((previous, _)) = &status.previous {
                by += previous.signed_by(&bytes, &signature).map_err(failed)?.len();
            }
            if by == 0 {
                return Err(failed(SignatureError::NotTrusted));
            }
            status = add(path, &status, &signature)?;
        }
    }
    Ok(status)
}

fn add(path: &Path, previous_status: &KeySetStatus, signature: &str) -> Result<KeySetStatus, KeySetError> {
    let all = signatures(path)? + signature;
    let (_, bytes) = read(path)?;
    let failed = |source| KeySetError::Signature { path: signatures_path(path), source };
    let own = previous_status.set.signed_by(&bytes, &all).map_err(failed)?.len();
    let previous = match &previous_status.previous {
        Some((set, _)) => set.signed_by(&bytes, &all).map_err(failed)?.len(),
        None => 0,
    };
    let had = previous_status.previous.as_ref().map_or(0, |(_, found)| found.len());
    if own > previous_status.own.len() || previous > had {
        write_file(&signatures_path(path), &all, 0o644)?;
    }
    status(path)
}

/// All sets in the folder, without gaps.
///
/// # Errors
/// A set cannot be read.
pub fn load_sets(folder: &Path) -> Result<Vec<SignedSet>, KeySetError> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let name = |entry: fs::DirEntry| files::epoch_of(&entry.file_name().to_string_lossy());
    let mut epochs: Vec<u64> = entries.filter_map(name).collect();
    epochs.sort_unstable();
    let mut sets: Vec<SignedSet> = Vec::new();
    for epoch in epochs {
        if let Some(previous) = sets.last()
            && previous.epoch + 1 != epoch
        {
            return Err(KeySetError::NoPrevious(folder.join(files::keys(epoch - 1))));
        }
        let path = folder.join(files::keys(epoch));
        let (_, bytes) = read(&path)?;
        sets.push(SignedSet { epoch, bytes, signatures: signatures(&path)? });
    }
    Ok(sets)
}

/// The status of the newest set in the folder.
///
/// # Errors
/// There is no set, or it cannot be read.
pub fn latest_status(folder: &Path) -> Result<KeySetStatus, KeySetError> {
    let last = load_sets(folder)?.pop().ok_or_else(|| KeySetError::None(folder.to_owned()))?;
    status(&folder.join(files::keys(last.epoch)))
}

/// The newest set in the folder that machines accept.
///
/// # Errors
/// A set cannot be read.
pub fn latest_complete(folder: &Path) -> Result<Option<KeySet>, KeySetError> {
    let mut latest = None;
    for SignedSet { epoch, .. } in load_sets(folder)? {
        let status = status(&folder.join(files::keys(epoch)))?;
        if !status.is_complete() {
            break;
        }
        latest = Some(status.set);
    }
    Ok(latest)
}

/// Copies the complete sets to another folder, for example a release's. Returns the file names.
///
/// # Errors
/// A set cannot be read or written.
pub fn copy_sets(from: &Path, to: &Path) -> Result<Vec<String>, KeySetError> {
    let mut names = Vec::new();
    for SignedSet { epoch, bytes, signatures } in load_sets(from)? {
        if !(status(&from.join(files::keys(epoch))).is_ok_and(|status| status.is_complete())) {
            break;
        }
        let [set, signed] = [files::keys(epoch), files::keys_signatures(epoch)];
        write_file(&to.join(&signed), &signatures, 0o644)?;
        write_file(&to.join(&set), &String::from_utf8_lossy(&bytes), 0o644)?;
        names.extend([set, signed]);
    }
    Ok(names)
}
