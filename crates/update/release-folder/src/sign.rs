//! Signatures of root metadata: made here, or collected from copies that were signed elsewhere.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tuf::{KeyId, ListedSigner, Root, Signer};
use update_core::roots;

use crate::keys::SigningKey;
use crate::password::Passwords;
use crate::roots::{RootError, RootStatus, parse_signed, read_limited, read_status, status, write};

/// `signer` as a root key of `root`, if it is one.
fn listed<'a>(root: &Root, signer: &'a dyn Signer) -> Option<ListedSigner<'a>> {
    ListedSigner::of(&root.roles.root, &root.keys, signer)
}

/// Signs a root file as the root keys of `previous` and of `root` that `signers` are. Ignores those that signed already.
fn signed(
    path: &Path,
    bytes: &[u8],
    [previous, root]: [Option<&Root>; 2],
    signers: &[&dyn Signer],
) -> Result<Vec<u8>, RootError> {
    let mut bytes = bytes.to_vec();
    for of in [previous, root].into_iter().flatten() {
        for &signer in signers {
            let Some(signer) = listed(of, signer) else { continue };
            let found = of
                .signers_of(&bytes)
                .map_err(|source| RootError::Metadata { path: path.to_owned(), source })?;
            if !found.contains(&signer.key().id()) {
                bytes = tuf::add_signatures(&bytes, &[&signer])
                    .map_err(|source| RootError::Sign { path: path.to_owned(), source })?;
            }
        }
    }
    Ok(bytes)
}

/// Writes a new root, signed by those of `signers` that are root keys of it or of the preceding one.
pub(crate) fn write_new(
    folder: &Path,
    root: &Root,
    previous: Option<&Root>,
    signers: &[&dyn Signer],
) -> Result<RootStatus, RootError> {
    let path = folder.join(roots::file(roots::version(root)));
    if path.exists() {
        return Err(RootError::Exists(path));
    }
    check_new(&path, root)?;
    let unsigned = tuf::sign(root.clone(), &[])
        .map_err(|source| RootError::Sign { path: path.clone(), source })?
        .to_bytes()
        .map_err(|source| RootError::Metadata { path: path.clone(), source })?;
    write(&path, &signed(&path, &unsigned, [previous, Some(root)], signers)?)?;
    status(&path)
}

/// Checks a root before keys are generated for it.
pub(crate) fn check_new(path: &Path, root: &Root) -> Result<(), RootError> {
    roots::check(root).map_err(|source| RootError::Rule { path: path.to_owned(), source })
}

/// Adds the signature of a root key of the root, or of the preceding one. Idempotent.
///
/// # Errors
/// The key is not such a key, or its password is wrong.
pub fn sign_root(path: &Path, key: &Path, passwords: &mut dyn Passwords) -> Result<RootStatus, RootError> {
    let before = read_status(path)?;
    let secret = SigningKey::unlock(key, passwords)?;
    sign_with(path, before, secret.signer(), key)
}

/// Like [`sign_root`], with a key pair that is not in a file, such as on a token. `name` is its place, for errors.
///
/// # Errors
/// The key is not such a key, or cannot sign.
pub fn sign_root_with(path: &Path, signer: &dyn Signer, name: &Path) -> Result<RootStatus, RootError> {
    sign_with(path, read_status(path)?, signer, name)
}

fn sign_with(
    path: &Path,
    (before, bytes): (RootStatus, Vec<u8>),
    signer: &dyn Signer,
    name: &Path,
) -> Result<RootStatus, RootError> {
    let (own, previous) = (&before.root, before.previous.as_ref().map(|(root, _)| root));
    if [Some(own), previous].into_iter().flatten().all(|root| listed(root, signer).is_none()) {
        return Err(RootError::UnknownKey { key: name.to_owned(), version: roots::version(own) });
    }
    let all = signed(path, &bytes, [previous, Some(own)], &[signer])?;
    replace(path, &bytes, &all)
}

/// Adds the signatures of copies that were signed elsewhere: of all of `others`, or of none. Ignores known ones.
///
/// # Errors
/// A file is not a copy of the root, or has a signature that no root key of it or of the preceding one made.
pub fn merge_signatures(path: &Path, others: &[PathBuf]) -> Result<RootStatus, RootError> {
    let (before, bytes) = read_status(path)?;
    let previous = before.previous.as_ref().map(|(root, _)| root);
    let signers = |path: &Path, bytes: &[u8]| -> Result<Vec<KeyId>, RootError> {
        let ids = [previous, Some(&before.root)].into_iter().flatten().map(|root| root.signers_of(bytes));
        let ids: Result<Vec<_>, _> = ids.collect();
        Ok(ids.map_err(|source| RootError::Metadata { path: path.to_owned(), source })?.concat())
    };
    let mut all = bytes.clone();
    for other in others {
        let copy = read_limited(other)?;
        let signatures = parse_signed(other, &copy)?.signatures;
        if let Some(field) = difference("signed", &signed_part(&bytes), &signed_part(&copy)) {
            return Err(RootError::OtherRoot { path: other.clone(), of: path.to_owned(), field });
        }
        let (made, known) = (signers(other, &copy)?, signers(path, &all)?);
        if let Some(foreign) = signatures.iter().find(|signature| !made.contains(&signature.keyid)) {
            let (id, version) = (foreign.keyid.chars().take(16).collect(), roots::version(&before.root));
            return Err(RootError::UnknownSignature { path: other.clone(), id, version });
        }
        let new: Vec<_> =
            signatures.into_iter().filter(|signature| !known.contains(&signature.keyid)).collect();
        if !new.is_empty() {
            let failed = |source| RootError::Sign { path: path.to_owned(), source };
            all = tuf::insert_signatures(&all, &new).map_err(failed)?;
        }
    }
    replace(path, &bytes, &all)
}

fn replace(path: &Path, old: &[u8], new: &[u8]) -> Result<RootStatus, RootError> {
    if new != old {
        write(path, new)?;
    }
    status(path)
}

/// What the signatures of a file that was parsed cover.
pub(crate) fn signed_part(bytes: &[u8]) -> Value {
    let tree: Value = serde_json::from_slice(bytes).unwrap_or_default();
    tree.get("signed").cloned().unwrap_or_default()
}

/// The first field in which two values differ, as a path from `at`.
pub(crate) fn difference(at: &str, one: &Value, other: &Value) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let names = || one.keys().chain(other.keys());
            names().find_map(|name| match (one.get(name), other.get(name)) {
                (Some(one), Some(other)) => difference(&format!("{at}.{name}"), one, other),
                _ => Some(format!("{at}.{name}")),
            })
        }
        _ => (one != other).then(|| at.to_owned()),
    }
}

#[cfg(test)]
mod tests;
