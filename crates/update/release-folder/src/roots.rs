//! Root metadata in a folder: `1.root.json`, `2.root.json` and so on, each with the signatures collected so far.
//!
//! Root keys are stored separately, so a root is passed around until it has enough signatures.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use release::{FileName, KeyError, NameError};
use tuf::{DateError, MetadataError, Root, SignError, Signed};
use update_core::roots::{self, MAX_ROOT, Role, RuleError};

use crate::keys::{KeysError, write_file};

/// Number of root keys to generate.
pub(crate) const ROOT_KEYS: usize = 3;

/// Why a root was not read or changed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum RootError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot rename {path}")]
    Rename { path: PathBuf, source: io::Error },
    #[error("{0} already exists: roots are immutable")]
    Exists(PathBuf),
    #[error("there is no root metadata in {0}")]
    None(PathBuf),
    #[error("cannot parse {path}")]
    Metadata { path: PathBuf, source: MetadataError },
    #[error("{0} is longer than {MAX_ROOT} bytes")]
    TooLong(PathBuf),
    #[error("{path} is not accepted")]
    Rule { path: PathBuf, source: RuleError },
    #[error("{path} does not follow the root before it")]
    Refused { path: PathBuf, source: tuf::Cause },
    #[error("cannot sign {path}")]
    Sign { path: PathBuf, source: SignError },
    #[error("invalid expiry")]
    Expires(#[from] DateError),
    #[error(transparent)]
    PublicKey(#[from] KeyError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{path} contains root version {found}, its name requires {expected}")]
    Version { path: PathBuf, found: u64, expected: u64 },
    #[error("invalid root name {0}: expected N.root.json")]
    InvalidName(PathBuf),
    #[error("the previous root must be in the same folder: {0}")]
    NoPrevious(PathBuf),
    #[error("{key} is neither a root key of root version {version} nor of the previous one")]
    UnknownKey { key: PathBuf, version: u64 },
    #[error("{path} is not a copy of {of}: {field:?} differs")]
    OtherRoot { path: PathBuf, of: PathBuf, field: String },
    #[error(
        "{path}: the signature of key {id:?} was not made by a root key of root version {version} or of the previous one"
    )]
    UnknownSignature { path: PathBuf, id: String, version: u64 },
    #[error("root version {version} is not fully signed: {missing}")]
    Incomplete { version: u64, missing: String },
    #[error("each of the {ROOT_KEYS} root keys needs a folder of its own: {0} given")]
    RootFolders(usize),
    #[error("each of the {ROOT_KEYS} root keys needs a folder of its own: {0} is given twice")]
    SameRootFolder(PathBuf),
    #[error("cannot sign the list of releases")]
    Targets { source: Box<dyn std::error::Error + Send + Sync> },
    #[error("there is no {role} key `{name}` in root version {version}")]
    NoKey { role: &'static str, name: String, version: u64 },
}

/// A root as served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRoot {
    /// Of the root in `bytes`.
    pub version: u64,
    /// `N.root.json`.
    pub bytes: Vec<u8>,
}

/// A root and its signers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootStatus {
    /// Of the root's file.
    pub path: PathBuf,
    /// As parsed; its signatures may be incomplete.
    pub root: Root,
    /// The preceding root, if any, and those of its root keys that signed, in its order.
    pub previous: Option<(Root, Vec<FileName>)>,
    /// Those of its own root keys that signed, in its order.
    pub own: Vec<FileName>,
}

impl RootStatus {
    /// Whether machines accept it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// The missing signatures, one line per root whose threshold is not reached.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let previous = self.previous.as_ref().map(|(root, found)| (root, found));
        previous
            .into_iter()
            .chain([(&self.root, &self.own)])
            .filter_map(|(of, found)| missing_signatures(of, found))
            .collect()
    }
}

fn missing_signatures(of: &Root, found: &[FileName]) -> Option<String> {
    let more = of.roles.root.threshold.get().checked_sub(found.len() as u64).filter(|more| *more > 0)?;
    let keys = roots::named_keys(of, Role::Root);
    let names: Vec<_> =
        keys.iter().map(|key| &key.name).filter(|name| !found.contains(name)).map(FileName::as_str).collect();
    let version = roots::version(of);
    Some(format!("{more} of {} (root keys of version {version}) must sign", names.join(", ")))
}

/// The status of a root. The preceding root must be in the same folder.
///
/// # Errors
/// A file is missing or invalid.
pub fn status(path: &Path) -> Result<RootStatus, RootError> {
    Ok(read_status(path)?.0)
}

/// A root's status and its bytes.
pub(crate) fn read_status(path: &Path) -> Result<(RootStatus, Vec<u8>), RootError> {
    let (root, bytes) = read(path)?;
    let previous = match roots::version(&root) {
        1 => None,
        version => {
            let previous_path = path.with_file_name(roots::file(version - 1));
            if !previous_path.exists() {
                return Err(RootError::NoPrevious(previous_path));
            }
            let (previous, _) = read(&previous_path)?;
            let found = signers(&previous, path, &bytes)?;
            Some((previous, found))
        }
    };
    let own = signers(&root, path, &bytes)?;
    Ok((RootStatus { path: path.to_owned(), root, previous, own }, bytes))
}

fn signers(of: &Root, path: &Path, bytes: &[u8]) -> Result<Vec<FileName>, RootError> {
    let found =
        roots::signers(of, bytes).map_err(|source| RootError::Metadata { path: path.to_owned(), source })?;
    let names = roots::named_keys(of, Role::Root).into_iter().map(|key| key.name);
    Ok(names.filter(|name| found.contains(name)).collect())
}

fn read(path: &Path) -> Result<(Root, Vec<u8>), RootError> {
    let bytes = read_limited(path)?;
    Ok((parse(path, &bytes)?, bytes))
}

/// Checks what is about to be signed or published, too.
fn parse(path: &Path, bytes: &[u8]) -> Result<Root, RootError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let expected = roots::version_of(&name).ok_or_else(|| RootError::InvalidName(path.to_owned()))?;
    let root = parse_signed(path, bytes)?.signed;
    roots::check(&root).map_err(|source| RootError::Rule { path: path.to_owned(), source })?;
    let found = roots::version(&root);
    if found != expected {
        return Err(RootError::Version { path: path.to_owned(), found, expected });
    }
    Ok(root)
}

pub(crate) fn parse_signed(path: &Path, bytes: &[u8]) -> Result<Signed<Root>, RootError> {
    if bytes.len() > MAX_ROOT {
        return Err(RootError::TooLong(path.to_owned()));
    }
    Signed::parse(bytes).map_err(|source| RootError::Metadata { path: path.to_owned(), source })
}

/// Reads one byte more than the limit, which suffices to detect excess.
pub(crate) fn read_limited(path: &Path) -> Result<Vec<u8>, RootError> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path)
        .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, MAX_ROOT as u64 + 1), &mut bytes));
    read.map_err(|source| RootError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}

/// Writes a root that passes [`roots::check`]. Readers see the old or the new file, even after a power failure.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), RootError> {
    parse(path, bytes)?;
    Ok(write_file(path, bytes, 0o644)?)
}

/// All roots in the folder, without gaps.
///
/// # Errors
/// A root cannot be read.
pub fn load_roots(folder: &Path) -> Result<Vec<SignedRoot>, RootError> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let name = |entry: fs::DirEntry| roots::version_of(&entry.file_name().to_string_lossy());
    let mut versions: Vec<u64> = entries.filter_map(name).collect();
    versions.sort_unstable();
    let mut loaded: Vec<SignedRoot> = Vec::new();
    for version in versions {
        if let Some(previous) = loaded.last()
            && previous.version + 1 != version
        {
            return Err(RootError::NoPrevious(folder.join(roots::file(version - 1))));
        }
        let (_, bytes) = read(&folder.join(roots::file(version)))?;
        loaded.push(SignedRoot { version, bytes });
    }
    Ok(loaded)
}

/// The status of the newest root in the folder.
///
/// # Errors
/// There is no root, or it cannot be read.
pub fn latest_status(folder: &Path) -> Result<RootStatus, RootError> {
    let last = load_roots(folder)?.pop().ok_or_else(|| RootError::None(folder.to_owned()))?;
    status(&folder.join(roots::file(last.version)))
}

/// The newest root in the folder that machines accept.
///
/// # Errors
/// A root cannot be read.
pub fn latest_complete(folder: &Path) -> Result<Option<Root>, RootError> {
    let mut latest = None;
    for SignedRoot { version, .. } in load_roots(folder)? {
        let status = status(&folder.join(roots::file(version)))?;
        if !status.is_complete() {
            break;
        }
        latest = Some(status.root);
    }
    Ok(latest)
}

/// Copies the complete roots to another folder, for example a release's. Returns the file names.
///
/// # Errors
/// A root cannot be read or written.
pub fn copy_roots(from: &Path, to: &Path) -> Result<Vec<String>, RootError> {
    let mut names = Vec::new();
    for SignedRoot { version, bytes } in load_roots(from)? {
        let name = roots::file(version);
        if !status(&from.join(&name))?.is_complete() {
            break;
        }
        write(&to.join(&name), &bytes)?;
        names.push(name);
    }
    Ok(names)
}

/// Adds the root that follows the newest one of the folder, as machines accept it.
///
/// # Errors
/// The newest root lacks signatures, the keys of both did not sign the new one, or it cannot be written.
pub fn add_root(folder: &Path, bytes: &[u8]) -> Result<Root, RootError> {
    let newest = latest_status(folder)?;
    let version = roots::version(&newest.root).saturating_add(1);
    if !newest.is_complete() {
        let missing = newest.missing().join("; ");
        return Err(RootError::Incomplete { version: version - 1, missing });
    }
    let path = folder.join(roots::file(version));
    let next = newest.root.next(bytes);
    let next = next.map_err(|source| RootError::Refused { path: path.clone(), source })?;
    write(&path, bytes)?;
    Ok(next)
}
