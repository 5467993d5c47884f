//! Rotation: creates the next key set and generates replacement keys.

use std::fs;
use std::path::{Path, PathBuf};

use release::{FileName, KeySet, NamedKey, Role};

use crate::key_sets::{KeySetError, KeySetStatus, latest_status, named, write};
use crate::keys::{SigningKey, generate_pair};

/// Changes for the next set. Without any, the next set extends the validity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Keys to replace by new ones of the same role.
    pub replace: Vec<Replace>,
    /// Keys to remove, by name.
    pub revoke: Vec<(Role, String)>,
    /// `.pub` files of keys to add, named after the files.
    pub add: Vec<(Role, PathBuf)>,
    /// `None` keeps the previous set's.
    pub threshold: Option<usize>,
    /// Root keys to sign with, in addition to those in the folder.
    pub signers: Vec<PathBuf>,
}

/// A key in the folder to replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replace {
    /// The role of both the old and the new key.
    pub role: Role,
    /// Base name of the secret key file: `release`, `channel`, `root-2`.
    pub file: String,
}

/// Creates the next set in `folder`, signed by the available root keys. Times are Unix time in seconds.
///
/// A replaced secret key is renamed to `FILE.revoked-in-N.key`, and the new one takes its name.
///
/// # Errors
/// The preceding set lacks signatures, or the change is invalid.
pub fn rotate(
    folder: &Path,
    change: &Change,
    issued: u64,
    expires: u64,
) -> Result<KeySetStatus, KeySetError> {
    let before = latest_status(folder)?;
    if !before.is_complete() {
        return Err(KeySetError::Incomplete {
            epoch: before.set.epoch,
            missing: before.missing().join("; "),
        });
    }
    let old = before.set;
    let mut set = KeySet { epoch: old.epoch + 1, issued, expires, ..old.clone() };
    for (role, name) in &change.revoke {
        let at = position(&set, *role, name, |key| key.name.as_str() == name)?;
        keys_mut(&mut set, *role).remove(at);
    }
    for (role, path) in &change.add {
        keys_mut(&mut set, *role).push(named(path)?);
    }
    set.threshold = change.threshold.unwrap_or(set.threshold);
    // Reject invalid changes before generating keys.
    set.to_bytes()?;
    // A replaced root key still signs: it belongs to the preceding set.
    let mut secrets = secrets(folder, &change.signers)?;
    for replace in &change.replace {
        secrets.push(SigningKey::read(&replace_key(folder, &mut set, replace)?)?);
    }
    let mut signers = Vec::new();
    for secret in secrets {
        let public = secret.public()?;
        if old.root.iter().chain(&set.root).any(|key| key.key == public) {
            signers.push(secret);
        }
    }
    let status = write(folder, &set, &signers)?;
    for Replace { file, .. } in &change.replace {
        let current = folder.join(format!("{file}.key"));
        let revoked_path = folder.join(format!("{file}.revoked-in-{}.key", set.epoch));
        for (from, to) in [(&current, &revoked_path), (&new_secret(folder, file, set.epoch), &current)] {
            if from.exists() {
                fs::rename(from, to).map_err(|source| KeySetError::Rename { path: from.clone(), source })?;
            }
        }
    }
    Ok(status)
}

fn keys_mut(set: &mut KeySet, role: Role) -> &mut Vec<NamedKey> {
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
    matches: impl Fn(&NamedKey) -> bool,
) -> Result<usize, KeySetError> {
    let found = set.named_keys(role).iter().position(matches);
    found.ok_or_else(|| KeySetError::NoKey { role: role.name(), name: name.to_owned(), epoch: set.epoch - 1 })
}

/// Replaces a key by a new pair. Finds it by its secret key file, or by name if that is lost. Returns the secret
/// key's path.
fn replace_key(folder: &Path, set: &mut KeySet, replace: &Replace) -> Result<PathBuf, KeySetError> {
    let Replace { role, file } = replace;
    let current = folder.join(format!("{file}.key"));
    let public = if current.exists() { Some(SigningKey::read(&current)?.public()?) } else { None };
    let at = position(set, *role, file, |key| match &public {
        Some(public) => key.key == *public,
        None => base_name(&key.name) == file,
    })?;
    let keys = keys_mut(set, *role);
    let name = keys.get(at).map_or(file.as_str(), |key| base_name(&key.name)).to_owned();
    let epoch = set.epoch;
    let to = folder.join(role.name()).join(format!("{name}.e{epoch}.pub"));
    let secret = new_secret(folder, file, epoch);
    generate_pair(&secret, &to, &format!("Keelson's {} key {name}, of set {epoch} on", role.name()))?;
    let new = named(&to)?;
    if let Some(key) = keys_mut(set, *role).get_mut(at) {
        *key = new;
    }
    Ok(secret)
}

/// Name of a new secret key until the rotation is complete.
fn new_secret(folder: &Path, file: &str, epoch: u64) -> PathBuf {
    folder.join(format!("{file}.e{epoch}.key"))
}

/// A key's name without the suffix of its epoch.
fn base_name(name: &FileName) -> &str {
    let text = name.as_str();
    match text.rsplit_once(".e") {
        Some((base, number)) if number.parse::<u64>().is_ok() => base,
        _ => text,
    }
}

/// The root keys in the folder, and additional ones.
fn secrets(folder: &Path, additional: &[PathBuf]) -> Result<Vec<SigningKey>, KeySetError> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix("root-")
            .and_then(|name| name.strip_suffix(".key"))
            .is_some_and(|n| !n.contains('.'))
    });
    paths.sort();
    paths.iter().chain(additional).map(|path| Ok(SigningKey::read(path)?)).collect()
}

#[cfg(test)]
mod tests;
