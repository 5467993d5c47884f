//! Sets of keys in a folder: `keys.1.json`, `keys.2.json` and so on, each with the signatures that it has so far.
//!
//! The root keys that sign them are kept apart, so that a set travels from one to the next until it has enough.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use release::{
    FileName, KeySet, KeyText, KeyTextError, MAX_KEY_SET, MAX_KEY_SET_SIGNATURES, MetadataError, NameError,
    NamedKey, Role, SCHEMA, SignatureError, files, split,
};

use crate::keys::{KeysError, Secret, make_pair, put};

/// So many root keys are made, of which [`THRESHOLD`] sign.
const ROOTS: usize = 3;
const THRESHOLD: usize = 2;

#[derive(Debug, thiserror::Error)]
pub enum SetsError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot rename {path}")]
    Rename { path: PathBuf, source: io::Error },
    #[error("{0} is there already: a set of keys never changes")]
    Exists(PathBuf),
    #[error("there is no set of keys in {0}")]
    None(PathBuf),
    #[error("{path}")]
    Metadata { path: PathBuf, source: MetadataError },
    #[error("the set of keys cannot be")]
    New(#[from] MetadataError),
    #[error("{path}")]
    Key { path: PathBuf, source: KeyTextError },
    #[error("{path}")]
    Signature { path: PathBuf, source: SignatureError },
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{path} is set {found}, by its name it should be {wanted}")]
    Number { path: PathBuf, found: u64, wanted: u64 },
    #[error("{0} is no name of a set: it wants keys.N.json")]
    NoSet(PathBuf),
    #[error("the set before it is wanted beside it: {0}")]
    NoPrevious(PathBuf),
    #[error("{key} is no root key of set {epoch}, nor of the one before it")]
    Foreign { key: PathBuf, epoch: u64 },
    #[error("set {epoch} is not signed yet: {missing}")]
    Unfinished { epoch: u64, missing: String },
    #[error("there is no {role} key `{name}` in set {epoch}")]
    NoKey { role: &'static str, name: String, epoch: u64 },
}

/// A set as it is served: its bytes, and its signatures one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedSet {
    pub epoch: u64,
    pub bytes: Vec<u8>,
    pub signatures: String,
}

/// A set, and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub path: PathBuf,
    pub set: KeySet,
    /// The set before it, where there is one, and those of its root keys that signed.
    pub previous: Option<(KeySet, Vec<FileName>)>,
    /// Those of its own root keys that signed.
    pub own: Vec<FileName>,
}

impl Standing {
    /// Whether machines take it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// Whose signatures are wanted, one line for each set that still wants some.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let previous = self.previous.as_ref().map(|(set, found)| (set, found));
        previous
            .into_iter()
            .chain([(&self.set, &self.own)])
            .filter_map(|(of, found)| wanted(of, found))
            .collect()
    }
}

fn wanted(of: &KeySet, found: &[FileName]) -> Option<String> {
    let more = of.threshold.checked_sub(found.len()).filter(|more| *more > 0)?;
    let names = of.root.iter().map(|key| &key.name).filter(|name| !found.contains(name));
    let names: Vec<_> = names.map(FileName::as_str).collect();
    Some(format!("{more} of {} (root keys of set {}) have to sign", names.join(", "), of.epoch))
}

/// Makes three root keys in `folder`, `root-1.key` to `root-3.key`, and the first set, which they sign: of these, and
/// of the public keys in `folder/release` and `folder/channel`. Times are in seconds since 1970.
///
/// # Errors
/// Any of it is there already, or cannot be written.
pub fn begin(folder: &Path, issued: u64, expires: u64) -> Result<Standing, SetsError> {
    let path = folder.join(files::keys(1));
    if path.exists() {
        return Err(SetsError::Exists(path));
    }
    let names: Vec<_> = (1..=ROOTS).map(|number| format!("root-{number}")).collect();
    for name in &names {
        let public = folder.join(Role::Root.name()).join(format!("{name}.pub"));
        make_pair(&folder.join(format!("{name}.key")), &public, &format!("Keelson's {name} key"))?;
    }
    let of = |role: Role| public_keys(&folder.join(role.name()));
    let set = KeySet {
        schema: SCHEMA,
        epoch: 1,
        issued,
        expires,
        threshold: THRESHOLD,
        root: of(Role::Root)?,
        release: of(Role::Release)?,
        channel: of(Role::Channel)?,
    };
    let secrets: Result<Vec<_>, _> =
        names.iter().map(|name| Secret::read(&folder.join(format!("{name}.key")))).collect();
    write(folder, &set, &secrets?)
}

/// A key by its `.pub` file, named after it.
pub(crate) fn named(path: &Path) -> Result<NamedKey, SetsError> {
    let read = |source| SetsError::Read { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(read)?;
    let key = KeyText::of_file(&text).map_err(|source| SetsError::Key { path: path.to_owned(), source })?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(NamedKey { name: name.parse()?, key })
}

fn public_keys(folder: &Path) -> Result<Vec<NamedKey>, SetsError> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "pub"));
    paths.sort();
    paths.iter().map(|path| named(path)).collect()
}

/// Writes a new set with the signatures of those of `secrets` that may sign it.
pub(crate) fn write(folder: &Path, set: &KeySet, secrets: &[Secret]) -> Result<Standing, SetsError> {
    let path = folder.join(files::keys(set.epoch));
    if path.exists() {
        return Err(SetsError::Exists(path));
    }
    let bytes = set.to_bytes()?;
    let mut signatures = String::new();
    for secret in secrets {
        signatures += &signature(secret, set, &bytes)?;
    }
    // The set comes last: one that is there has the signatures that it was made with.
    put(&folder.join(files::keys_signatures(set.epoch)), &signatures, 0o644)?;
    put(&path, &String::from_utf8_lossy(&bytes), 0o644)?;
    standing(&path)
}

fn signature(secret: &Secret, set: &KeySet, bytes: &[u8]) -> Result<String, SetsError> {
    Ok(secret.sign(bytes, &format!("keys {} {}", set.epoch, set.expires))?)
}

/// The set in the file, and who signed it. The set before it has to stand beside it.
///
/// # Errors
/// One of the files is not there, or not what it should be.
pub fn standing(path: &Path) -> Result<Standing, SetsError> {
    let (set, bytes) = read(path)?;
    let signatures = signatures(path)?;
    let failed = |source| SetsError::Signature { path: signatures_path(path), source };
    let by = |of: &KeySet| -> Result<Vec<FileName>, SetsError> {
        let found = of.signed_by(&bytes, &signatures).map_err(failed)?;
        Ok(found.into_iter().cloned().collect())
    };
    let previous = match set.epoch {
        1 => None,
        epoch => {
            let before = path.with_file_name(files::keys(epoch - 1));
            if !before.exists() {
                return Err(SetsError::NoPrevious(before));
            }
            let (previous, _) = read(&before)?;
            let found = by(&previous)?;
            Some((previous, found))
        }
    };
    Ok(Standing { path: path.to_owned(), own: by(&set)?, set, previous })
}

fn read(path: &Path) -> Result<(KeySet, Vec<u8>), SetsError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let wanted = files::epoch_of(&name).ok_or_else(|| SetsError::NoSet(path.to_owned()))?;
    let bytes = limited(path, MAX_KEY_SET)?;
    let set =
        KeySet::parse(&bytes).map_err(|source| SetsError::Metadata { path: path.to_owned(), source })?;
    if set.epoch != wanted {
        return Err(SetsError::Number { path: path.to_owned(), found: set.epoch, wanted });
    }
    Ok((set, bytes))
}

fn signatures_path(path: &Path) -> PathBuf {
    path.with_extension("json.sig")
}

/// None yet where the file is not there.
fn signatures(path: &Path) -> Result<String, SetsError> {
    let path = signatures_path(path);
    if !path.exists() {
        return Ok(String::new());
    }
    Ok(String::from_utf8_lossy(&limited(&path, MAX_KEY_SET_SIGNATURES)?).into_owned())
}

/// One byte more than it may have is enough to tell.
fn limited(path: &Path, limit: usize) -> Result<Vec<u8>, SetsError> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path)
        .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, limit as u64 + 1), &mut bytes));
    read.map_err(|source| SetsError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}

/// Adds the signature of a root key of the set, or of the set before it. Once more changes nothing.
///
/// # Errors
/// It is no such key.
pub fn sign(path: &Path, key: &Path) -> Result<Standing, SetsError> {
    let (secret, before) = (Secret::read(key)?, standing(path)?);
    let public = secret.public()?;
    let known = |set: &KeySet| set.root.iter().any(|root| root.key == public);
    let previous = before.previous.as_ref().is_some_and(|(set, _)| known(set));
    if !previous && !known(&before.set) {
        return Err(SetsError::Foreign { key: key.to_owned(), epoch: before.set.epoch });
    }
    let (_, bytes) = read(path)?;
    add(path, &before, &signature(&secret, &before.set, &bytes)?)
}

/// Adds the signatures of other copies of the set, which were signed elsewhere. Those that say nothing new are left.
///
/// # Errors
/// A file is none of signatures, or holds one of a key that may not sign, or of another text.
pub fn collect(path: &Path, others: &[PathBuf]) -> Result<Standing, SetsError> {
    let mut now = standing(path)?;
    for other in others {
        let text = String::from_utf8_lossy(&limited(other, MAX_KEY_SET_SIGNATURES)?).into_owned();
        let (_, bytes) = read(path)?;
        for one in split(&text) {
            let failed = |source| SetsError::Signature { path: other.clone(), source };
            let mut by = now.set.signed_by(&bytes, &one).map_err(failed)?.len();
            if let Some((previous, _)) = &now.previous {
                by += previous.signed_by(&bytes, &one).map_err(failed)?.len();
            }
            if by == 0 {
                return Err(failed(SignatureError::NotTrusted));
            }
            now = add(path, &now, &one)?;
        }
    }
    Ok(now)
}

fn add(path: &Path, before: &Standing, one: &str) -> Result<Standing, SetsError> {
    let all = signatures(path)? + one;
    let (_, bytes) = read(path)?;
    let failed = |source| SetsError::Signature { path: signatures_path(path), source };
    let own = before.set.signed_by(&bytes, &all).map_err(failed)?.len();
    let previous = match &before.previous {
        Some((set, _)) => set.signed_by(&bytes, &all).map_err(failed)?.len(),
        None => 0,
    };
    let had = before.previous.as_ref().map_or(0, |(_, found)| found.len());
    if own > before.own.len() || previous > had {
        put(&signatures_path(path), &all, 0o644)?;
    }
    standing(path)
}

/// All sets in the folder, from the first that is there on, without a gap.
///
/// # Errors
/// One cannot be read.
pub fn sets(folder: &Path) -> Result<Vec<SignedSet>, SetsError> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let name = |entry: fs::DirEntry| files::epoch_of(&entry.file_name().to_string_lossy());
    let mut epochs: Vec<u64> = entries.filter_map(name).collect();
    epochs.sort_unstable();
    let mut steps: Vec<SignedSet> = Vec::new();
    for epoch in epochs {
        if let Some(before) = steps.last()
            && before.epoch + 1 != epoch
        {
            return Err(SetsError::NoPrevious(folder.join(files::keys(epoch - 1))));
        }
        let path = folder.join(files::keys(epoch));
        let (_, bytes) = read(&path)?;
        steps.push(SignedSet { epoch, bytes, signatures: signatures(&path)? });
    }
    Ok(steps)
}

/// The newest set in the folder, and how it stands.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn latest(folder: &Path) -> Result<Standing, SetsError> {
    let last = sets(folder)?.pop().ok_or_else(|| SetsError::None(folder.to_owned()))?;
    standing(&folder.join(files::keys(last.epoch)))
}

/// The newest set in the folder that machines take; none where there is none.
///
/// # Errors
/// One cannot be read.
pub fn latest_complete(folder: &Path) -> Result<Option<KeySet>, SetsError> {
    let mut latest = None;
    for SignedSet { epoch, .. } in sets(folder)? {
        let standing = standing(&folder.join(files::keys(epoch)))?;
        if !standing.is_complete() {
            break;
        }
        latest = Some(standing.set);
    }
    Ok(latest)
}

/// Puts the sets of one folder, as far as they are signed, into another one, as beside a release; their names there.
///
/// # Errors
/// One cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<Vec<String>, SetsError> {
    let mut names = Vec::new();
    for SignedSet { epoch, bytes, signatures } in sets(from)? {
        if !(standing(&from.join(files::keys(epoch))).is_ok_and(|standing| standing.is_complete())) {
            break;
        }
        let [set, signed] = [files::keys(epoch), files::keys_signatures(epoch)];
        put(&to.join(&signed), &signatures, 0o644)?;
        put(&to.join(&set), &String::from_utf8_lossy(&bytes), 0o644)?;
        names.extend([set, signed]);
    }
    Ok(names)
}
