//! The next set of keys: what is other than in the one before, and new secret keys where these are wanted.

use std::fs;
use std::path::{Path, PathBuf};

use release::{FileName, KeySet, NamedKey, Role};

use crate::key_sets::{SetsError, Standing, latest, named, write};
use crate::keys::{Secret, make_pair};

/// What is other in the next set. Nothing of it is a set that counts for longer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    pub replace: Vec<Replace>,
    /// Taken out, by name.
    pub revoke: Vec<(Role, String)>,
    /// Put in: `.pub` files, named after them.
    pub add: Vec<(Role, PathBuf)>,
    pub threshold: Option<usize>,
    /// Root keys that sign it, beside those in the folder.
    pub signers: Vec<PathBuf>,
}

/// A key of the folder that another one takes the place of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replace {
    pub role: Role,
    /// Of the secret key's file: `release`, `channel`, `root-2`.
    pub file: String,
}

/// Makes the next set in `folder`, signed by the root keys that are there. Times are in seconds since 1970.
///
/// A secret key that is replaced is kept as `FILE.revoked-in-N.key`, and the new one has its name.
///
/// # Errors
/// The set before it is not signed yet, or the change cannot be.
pub fn rotate(folder: &Path, change: &Change, issued: u64, expires: u64) -> Result<Standing, SetsError> {
    let before = latest(folder)?;
    if !before.is_complete() {
        return Err(SetsError::Unfinished { epoch: before.set.epoch, missing: before.missing().join("; ") });
    }
    let old = before.set;
    let mut set = KeySet { epoch: old.epoch + 1, issued, expires, ..old.clone() };
    for (role, name) in &change.revoke {
        let at = position(&set, *role, name, |key| key.name.as_str() == name)?;
        of(&mut set, *role).remove(at);
    }
    for (role, path) in &change.add {
        of(&mut set, *role).push(named(path)?);
    }
    set.threshold = change.threshold.unwrap_or(set.threshold);
    // What cannot be is told before any key is made.
    set.to_bytes()?;
    // A root key that is replaced signs, as long as it is there: it is of the set before.
    let mut secrets = secrets(folder, &change.signers)?;
    for replace in &change.replace {
        secrets.push(Secret::read(&put_new(folder, &mut set, replace)?)?);
    }
    let mut signers = Vec::new();
    for secret in secrets {
        let public = secret.public()?;
        if old.root.iter().chain(&set.root).any(|key| key.key == public) {
            signers.push(secret);
        }
    }
    let standing = write(folder, &set, &signers)?;
    for Replace { file, .. } in &change.replace {
        let current = folder.join(format!("{file}.key"));
        let kept = folder.join(format!("{file}.revoked-in-{}.key", set.epoch));
        for (from, to) in [(&current, &kept), (&new_secret(folder, file, set.epoch), &current)] {
            if from.exists() {
                fs::rename(from, to).map_err(|source| SetsError::Rename { path: from.clone(), source })?;
            }
        }
    }
    Ok(standing)
}

fn of(set: &mut KeySet, role: Role) -> &mut Vec<NamedKey> {
    match role {
        Role::Root => &mut set.root,
        Role::Release => &mut set.release,
        Role::Channel => &mut set.channel,
    }
}

fn position(
    set: &KeySet,
    role: Role,
    name: &str,
    is_it: impl Fn(&NamedKey) -> bool,
) -> Result<usize, SetsError> {
    let found = set.of(role).iter().position(is_it);
    found.ok_or_else(|| SetsError::NoKey { role: role.name(), name: name.to_owned(), epoch: set.epoch - 1 })
}

/// A new pair in the place of the one that the file has, or had before it was lost; where its secret half is.
fn put_new(folder: &Path, set: &mut KeySet, replace: &Replace) -> Result<PathBuf, SetsError> {
    let Replace { role, file } = replace;
    let current = folder.join(format!("{file}.key"));
    let public = if current.exists() { Some(Secret::read(&current)?.public()?) } else { None };
    let at = position(set, *role, file, |key| match &public {
        Some(public) => key.key == *public,
        None => base(&key.name) == file,
    })?;
    let keys = of(set, *role);
    let name = keys.get(at).map_or(file.as_str(), |key| base(&key.name)).to_owned();
    let epoch = set.epoch;
    let to = folder.join(role.name()).join(format!("{name}.e{epoch}.pub"));
    let secret = new_secret(folder, file, epoch);
    make_pair(&secret, &to, &format!("Keelson's {} key {name}, of set {epoch} on", role.name()))?;
    let new = named(&to)?;
    if let Some(key) = of(set, *role).get_mut(at) {
        *key = new;
    }
    Ok(secret)
}

/// Where a new secret key waits for the end of the rotation.
fn new_secret(folder: &Path, file: &str, epoch: u64) -> PathBuf {
    folder.join(format!("{file}.e{epoch}.key"))
}

/// A key's name without the number of the set that it came with.
fn base(name: &FileName) -> &str {
    let text = name.as_str();
    match text.rsplit_once(".e") {
        Some((base, number)) if number.parse::<u64>().is_ok() => base,
        _ => text,
    }
}

/// The root keys in the folder, and those that are named.
fn secrets(folder: &Path, more: &[PathBuf]) -> Result<Vec<Secret>, SetsError> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix("root-")
            .and_then(|name| name.strip_suffix(".key"))
            .is_some_and(|n| !n.contains('.'))
    });
    paths.sort();
    paths.iter().chain(more).map(|path| Ok(Secret::read(path)?)).collect()
}

#[cfg(test)]
mod tests;
