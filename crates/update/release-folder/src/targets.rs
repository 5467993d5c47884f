//! Targets metadata in a folder: `targets.json`, the list of all releases, which release keys sign.
//!
//! In a folder of keys it is the newest one. A release folder has a copy, and the roots that verify it.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use release::FileName;
use tuf::{Cause, ListedSigner, MetadataError, Root, SignError, Signed, Signer, Targets};
use update_core::repository::{MAX_TARGETS, RepositoryError, TARGETS_FILE, next_targets};
use update_core::roots::{self, Role};

use crate::images::ImagesError;
use crate::keys::{KeysError, SigningKey, secret_key_path, write_file};
use crate::password::Passwords;
use crate::roots::{RootError, latest_complete, load_roots};
use crate::sign::{difference, signed_part};

/// No time: whoever signs or publishes a list may have one that is expired.
const ANY_TIME: i64 = 0;

/// Why targets metadata was not read or changed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum TargetsError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{0} is longer than {MAX_TARGETS} bytes")]
    TooLong(PathBuf),
    #[error("cannot parse {path}")]
    Metadata { path: PathBuf, source: MetadataError },
    #[error("the release keys of root version {root} did not sign {path}")]
    Refused { path: PathBuf, root: u64, source: Cause },
    #[error("{path} (version {version}) is not fully signed: {missing}")]
    Incomplete { path: PathBuf, version: u64, missing: String },
    #[error("{key} is not a release key of root version {root}")]
    UnknownKey { key: PathBuf, root: u64 },
    #[error("there is no complete root in {0}")]
    NoRoot(PathBuf),
    #[error("cannot sign {path}")]
    Sign { path: PathBuf, source: SignError },
    #[error("{path} is not a copy of {of}: {field:?} differs")]
    OtherTargets { path: PathBuf, of: PathBuf, field: String },
    #[error("{path}: the signature of key {id:?} was not made by a release key of root version {root}")]
    UnknownSignature { path: PathBuf, id: String, root: u64 },
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Root(#[from] Box<RootError>),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("cannot use the release key {key}")]
    Key { key: PathBuf, source: Box<dyn Error + Send + Sync> },
    #[error("cannot parse {path}")]
    Release { path: PathBuf, source: release::MetadataError },
    #[error(transparent)]
    Images(Box<ImagesError>),
}

impl From<ImagesError> for TargetsError {
    fn from(error: ImagesError) -> Self {
        Self::Images(Box::new(error))
    }
}

impl From<RootError> for TargetsError {
    fn from(error: RootError) -> Self {
        Self::Root(Box::new(error))
    }
}

/// Targets metadata and its signers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetsStatus {
    /// Of the file.
    pub path: PathBuf,
    /// As parsed; its signatures may be incomplete.
    pub targets: Targets,
    /// Version of the root whose release keys count: the newest complete one of the folder.
    pub root: u64,
    /// Those of its release keys that signed.
    pub signed_by: Vec<FileName>,
    /// The missing signatures; `None` if machines accept it.
    pub missing: Option<String>,
    /// Whether it has the channel keys and the expiry of this root; if not, [`sign_targets`] creates the next one.
    pub is_current: bool,
}

impl TargetsStatus {
    /// Whether machines accept it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_none()
    }

    /// Fails unless it [is complete](Self::is_complete).
    ///
    /// # Errors
    /// Signatures are missing.
    pub fn ensure_complete(&self) -> Result<(), TargetsError> {
        let Some(missing) = self.missing.clone() else { return Ok(()) };
        let (path, version) = (self.path.clone(), self.targets.header.version.get());
        Err(TargetsError::Incomplete { path, version, missing })
    }
}

/// The newest complete root of the folder.
///
/// # Errors
/// There is none, or a root cannot be read.
pub(crate) fn newest_root(folder: &Path) -> Result<Root, TargetsError> {
    latest_complete(folder)?.ok_or_else(|| TargetsError::NoRoot(folder.to_owned()))
}

/// The bytes of `targets.json`; `None` if there is no such file.
pub(crate) fn read_targets(path: &Path) -> Result<Option<Vec<u8>>, TargetsError> {
    let failed = |source| TargetsError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_TARGETS as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_TARGETS {
        return Err(TargetsError::TooLong(path.to_owned()));
    }
    Ok(Some(bytes))
}

fn existing(path: &Path) -> Result<Vec<u8>, TargetsError> {
    let missing = || TargetsError::Read { path: path.to_owned(), source: io::ErrorKind::NotFound.into() };
    read_targets(path)?.ok_or_else(missing)
}

pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Targets, TargetsError> {
    let parsed = Signed::<Targets>::parse(bytes);
    Ok(parsed.map_err(|source| TargetsError::Metadata { path: path.to_owned(), source })?.signed)
}

/// Whether it is what a release key would sign now: with the root's channel keys, and valid as long as it.
pub(crate) fn is_current(targets: &Targets, root: &Root) -> Result<bool, TargetsError> {
    let mut expected = next_targets(root, Some(targets))?;
    expected.header = tuf::Header { expires: expected.header.expires, ..targets.header.clone() };
    expected.extra.clone_from(&targets.extra);
    Ok(expected == *targets)
}

/// The targets metadata of a folder, signed by the release keys of `root`, expired or not. `None` if there is none yet.
///
/// # Errors
/// It cannot be read, or lacks signatures.
pub fn load_targets(folder: &Path, root: &Root) -> Result<Option<Targets>, TargetsError> {
    let path = folder.join(TARGETS_FILE);
    let Some(bytes) = read_targets(&path)? else { return Ok(None) };
    let status = status_of(&path, &bytes, root)?;
    status.ensure_complete()?;
    verified(&path, &bytes, root).map(Some)
}

pub(crate) fn verified(path: &Path, bytes: &[u8], root: &Root) -> Result<Targets, TargetsError> {
    root.targets(bytes, ANY_TIME).map_err(|source| TargetsError::Refused {
        path: path.to_owned(),
        root: roots::version(root),
        source,
    })
}

/// The status of a `targets.json`, under the newest complete root in its folder.
///
/// # Errors
/// It cannot be read, or there is no root.
pub fn targets_status(path: &Path) -> Result<TargetsStatus, TargetsError> {
    status_of(path, &existing(path)?, &newest_root(folder_of(path))?)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(crate) fn status_of(path: &Path, bytes: &[u8], root: &Root) -> Result<TargetsStatus, TargetsError> {
    let targets = parse(path, bytes)?;
    let ids = root
        .targets_signers_of(bytes)
        .map_err(|source| TargetsError::Metadata { path: path.to_owned(), source })?;
    let named = roots::named_keys(root, Role::Release);
    let has_signed = |key: &tuf::Key| ids.iter().any(|id| root.keys.get(id) == Some(key));
    let (signed, others): (Vec<_>, Vec<_>) = named.into_iter().partition(|named| has_signed(&named.key));
    let version = roots::version(root);
    let more = root.roles.targets.threshold.get().saturating_sub(ids.len() as u64);
    let missing = (more > 0).then(|| {
        let names: Vec<_> = others.iter().map(|named| named.name.as_str()).collect();
        format!("{more} of {} (release keys of root version {version}) must sign", names.join(", "))
    });
    let signed_by = signed.into_iter().map(|named| named.name).collect();
    let is_current = is_current(&targets, root)?;
    Ok(TargetsStatus { path: path.to_owned(), targets, root: version, signed_by, missing, is_current })
}

/// `signer` as a release key of `root`, if it is one.
fn listed<'a>(root: &Root, signer: &'a dyn Signer) -> Option<ListedSigner<'a>> {
    ListedSigner::of(&root.roles.targets, &root.keys, signer)
}

/// Adds the signatures of those of `signers` that are release keys of `root` and did not sign yet.
pub(crate) fn signed(
    path: &Path,
    bytes: &[u8],
    root: &Root,
    signers: &[&dyn Signer],
) -> Result<Vec<u8>, TargetsError> {
    let mut bytes = bytes.to_vec();
    for signer in signers {
        let Some(signer) = listed(root, *signer) else { continue };
        let found = root
            .targets_signers_of(&bytes)
            .map_err(|source| TargetsError::Metadata { path: path.to_owned(), source })?;
        if !found.contains(&signer.key().id()) {
            bytes = tuf::add_signatures(&bytes, &[&signer])
                .map_err(|source| TargetsError::Sign { path: path.to_owned(), source })?;
        }
    }
    Ok(bytes)
}

/// Signs new targets metadata for `path`, and does not write it.
pub(crate) fn sign_new(
    path: &Path,
    targets: &Targets,
    root: &Root,
    signers: &[&dyn Signer],
) -> Result<Vec<u8>, TargetsError> {
    let unsigned = tuf::sign(targets.clone(), &[])
        .map_err(|source| TargetsError::Sign { path: path.to_owned(), source })?
        .to_bytes()
        .map_err(|source| TargetsError::Metadata { path: path.to_owned(), source })?;
    let bytes = signed(path, &unsigned, root, signers)?;
    if bytes.len() > MAX_TARGETS {
        return Err(TargetsError::TooLong(path.to_owned()));
    }
    Ok(bytes)
}

/// Writes targets metadata. Readers see the old or the new file, even after a power failure.
pub(crate) fn write(path: &Path, bytes: &[u8], root: &Root) -> Result<TargetsStatus, TargetsError> {
    let status = status_of(path, bytes, root)?;
    write_file(path, bytes, 0o644)?;
    Ok(status)
}

/// Fails unless `signer`, of the file `key`, is a release key of `root`.
pub(crate) fn ensure_listed(key: &Path, signer: &dyn Signer, root: &Root) -> Result<(), TargetsError> {
    let found = listed(root, signer);
    let unknown = || TargetsError::UnknownKey { key: key.to_owned(), root: roots::version(root) };
    found.map(drop).ok_or_else(unknown)
}

/// Signs a `targets.json` with a release key of the newest complete root in its folder. One of an earlier root is
/// replaced first: by the next version with the same releases, under this root. Idempotent.
///
/// Whoever signs vouches for each release that it lists.
///
/// # Errors
/// The key is not such a key, its password is wrong, or a file cannot be read or written.
pub fn sign_targets(
    path: &Path,
    key: &Path,
    passwords: &mut dyn Passwords,
) -> Result<TargetsStatus, TargetsError> {
    // A file that is no list is reported before a password is asked for.
    parse(path, &existing(path)?)?;
    sign_targets_with(path, SigningKey::unlock(key, passwords)?.signer(), key)
}

/// Like [`sign_targets`], with a key pair that is not in a file, such as on a token. `name` is its place, for errors.
///
/// # Errors
/// The key is not such a key or cannot sign, or a file cannot be read or written.
pub fn sign_targets_with(
    path: &Path,
    signer: &dyn Signer,
    name: &Path,
) -> Result<TargetsStatus, TargetsError> {
    let root = newest_root(folder_of(path))?;
    let before = existing(path)?;
    let targets = parse(path, &before)?;
    ensure_listed(name, signer, &root)?;
    let after = match is_current(&targets, &root)? {
        true => signed(path, &before, &root, &[signer])?,
        false => sign_new(path, &next_targets(&root, Some(&targets))?, &root, &[signer])?,
    };
    if after == before { status_of(path, &before, &root) } else { write(path, &after, &root) }
}

/// Adds the signatures of copies that were signed elsewhere: of all of `others`, or of none. Ignores known ones.
///
/// # Errors
/// A file is not a copy, or has a signature that no release key of the newest complete root made.
pub fn merge_targets_signatures(path: &Path, others: &[PathBuf]) -> Result<TargetsStatus, TargetsError> {
    let root = newest_root(folder_of(path))?;
    let before = existing(path)?;
    parse(path, &before)?;
    let signers = |path: &Path, bytes: &[u8]| {
        let found = root.targets_signers_of(bytes);
        found.map_err(|source| TargetsError::Metadata { path: path.to_owned(), source })
    };
    let mut all = before.clone();
    for other in others {
        let copy = existing(other)?;
        parse(other, &copy)?;
        if let Some(field) = difference("signed", &signed_part(&before), &signed_part(&copy)) {
            return Err(TargetsError::OtherTargets { path: other.clone(), of: path.to_owned(), field });
        }
        let (made, known) = (signers(other, &copy)?, signers(path, &all)?);
        let signatures = Signed::<Targets>::parse(&copy)
            .map_err(|source| TargetsError::Metadata { path: other.clone(), source })?
            .signatures;
        if let Some(foreign) = signatures.iter().find(|signature| !made.contains(&signature.keyid)) {
            let (id, root) = (foreign.keyid.chars().take(16).collect(), roots::version(&root));
            return Err(TargetsError::UnknownSignature { path: other.clone(), id, root });
        }
        let new: Vec<_> =
            signatures.into_iter().filter(|signature| !known.contains(&signature.keyid)).collect();
        if !new.is_empty() {
            all = tuf::insert_signatures(&all, &new)
                .map_err(|source| TargetsError::Sign { path: path.to_owned(), source })?;
        }
    }
    if all == before { status_of(path, &before, &root) } else { write(path, &all, &root) }
}

/// The release key of the folder, if it is a release key of `root` and can be used with these passwords.
pub(crate) fn release_key(
    folder: &Path,
    root: &Root,
    passwords: &mut dyn Passwords,
) -> Result<Option<SigningKey>, TargetsError> {
    let path = secret_key_path(folder, Role::Release.name());
    if !path.exists() {
        return Ok(None);
    }
    match SigningKey::unlock(&path, passwords) {
        Ok(secret) => Ok(ensure_listed(&path, secret.signer(), root).is_ok().then_some(secret)),
        // As a key elsewhere: its owner signs.
        Err(KeysError::Encrypted(_) | KeysError::WrongPassword(_) | KeysError::Password { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Brings the `targets.json` of a folder of keys under its newest complete root: the next version, with the same releases,
/// signed by those of `signers` that are release keys, or by the folder's release key. Without one, an existing file remains.
///
/// # Errors
/// Neither this root nor the one before it verifies the existing file, or a file cannot be read or written.
pub fn refresh_targets(
    folder: &Path,
    signers: &[&dyn Signer],
    passwords: &mut dyn Passwords,
) -> Result<Option<TargetsStatus>, TargetsError> {
    let root = newest_root(folder)?;
    let path = folder.join(TARGETS_FILE);
    let before = read_targets(&path)?;
    let previous = match &before {
        None => None,
        Some(bytes) => {
            let status = status_of(&path, bytes, &root)?;
            // Also with signatures to come.
            if !status.signed_by.is_empty() && status.is_current {
                return Ok(Some(status));
            }
            Some(match root.targets(bytes, ANY_TIME) {
                Ok(targets) => targets,
                Err(_) => verified(&path, bytes, &before_newest(folder, &root)?)?,
            })
        }
    };
    let mut signers: Vec<_> =
        signers.iter().copied().filter(|signer| listed(&root, *signer).is_some()).collect();
    let own = if signers.is_empty() { release_key(folder, &root, passwords)? } else { None };
    signers.extend(own.iter().map(SigningKey::signer));
    if signers.is_empty() {
        return before.map(|bytes| status_of(&path, &bytes, &root)).transpose();
    }
    let next = next_targets(&root, previous.as_ref())?;
    write(&path, &sign_new(&path, &next, &root, &signers)?, &root).map(Some)
}

/// The root that precedes `root`, or `root` if it is the first one.
fn before_newest(folder: &Path, root: &Root) -> Result<Root, TargetsError> {
    let previous = roots::version(root).saturating_sub(1);
    let found = load_roots(folder)?.into_iter().find(|found| found.version == previous);
    let Some(found) = found else { return Ok(root.clone()) };
    let path = folder.join(roots::file(previous));
    let parsed = Signed::<Root>::parse(&found.bytes);
    Ok(parsed.map_err(|source| TargetsError::Metadata { path, source })?.signed)
}

#[cfg(test)]
mod tests;
