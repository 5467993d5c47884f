//! Rotation: creates the next key set and generates replacement keys.

use std::fs;
use std::path::{Path, PathBuf};

use release::{FileName, KeySet, NamedKey, Role};

use crate::key_sets::{KeySetError, KeySetStatus, latest_status, named, write};
use crate::keys::{SigningKey, existing_key_path, generate_pair, secret_key_path};
use crate::password::{Password, Passwords};

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
    /// Encrypts new root and release keys.
    pub password: Option<Password>,
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
/// The preceding set lacks signatures, the change is invalid, or a password is wrong.
pub fn rotate(
    folder: &Path,
    change: &Change,
    passwords: &mut dyn Passwords,
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
    let mut secrets = secrets(folder, &change.signers, passwords)?;
    let mut renames = Vec::new();
    for replace in &change.replace {
        let (secret, new_key) = replace_key(folder, &mut set, replace, passwords, change.password.as_ref())?;
        secrets.push(secret);
        renames.push(new_key);
    }
    let mut signers = Vec::new();
    for secret in secrets {
        let public = secret.public()?;
        if old.root.iter().chain(&set.root).any(|key| key.key == public) {
            signers.push(secret);
        }
    }
    let status = write(folder, &set, &signers)?;
    for (replace, new_key) in change.replace.iter().zip(renames) {
        put_in_place(folder, &replace.file, &new_key, set.epoch)?;
    }
    Ok(status)
}

/// Renames the secret key `file`, and the new one to its name.
fn put_in_place(folder: &Path, file: &str, new_key: &Path, epoch: u64) -> Result<(), KeySetError> {
    let current = existing_key_path(folder, file);
    let revoked = current.with_file_name(format!("{file}.revoked-in-{epoch}.key"));
    for (from, to) in [(&*current, &*revoked), (new_key, &*secret_key_path(folder, file))] {
        if from.exists() {
            fs::rename(from, to).map_err(|source| KeySetError::Rename { path: from.to_owned(), source })?;
        }
    }
    Ok(())
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

/// Replaces a key by a new pair. Finds it by its secret key file; if that is lost, it is the only key of its role, or has
/// this name. Returns the new secret key and its path, which is temporary until the rotation is complete.
fn replace_key(
    folder: &Path,
    set: &mut KeySet,
    replace: &Replace,
    passwords: &mut dyn Passwords,
    password: Option<&Password>,
) -> Result<(SigningKey, PathBuf), KeySetError> {
    let Replace { role, file } = replace;
    let current = existing_key_path(folder, file);
    let at = match set.named_keys(*role) {
        _ if current.exists() => {
            let public = SigningKey::unlock(&current, passwords)?.public()?;
            position(set, *role, file, |key| key.key == public)?
        }
        [_] => 0,
        _ => position(set, *role, file, |key| base_name(&key.name) == file)?,
    };
    let keys = keys_mut(set, *role);
    let name = keys.get(at).map_or(file.as_str(), |key| base_name(&key.name)).to_owned();
    let epoch = set.epoch;
    let to = folder.join(role.name()).join(format!("{name}.e{epoch}.pub"));
    let path = secret_key_path(folder, file).with_file_name(format!("{file}.e{epoch}.key"));
    let comment = format!("Keelson's {} key {name}, of set {epoch} on", role.name());
    // A server reads the channel key unattended.
    let password = password.filter(|_| *role != Role::Channel);
    let secret = generate_pair(&path, &to, &comment, password)?;
    let new = named(&to)?;
    if let Some(key) = keys_mut(set, *role).get_mut(at) {
        *key = new;
    }
    Ok((secret, path))
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
fn secrets(
    folder: &Path,
    additional: &[PathBuf],
    passwords: &mut dyn Passwords,
) -> Result<Vec<SigningKey>, KeySetError> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix("root-")
            .and_then(|name| name.strip_suffix(".key"))
            .is_some_and(|n| !n.contains('.'))
    });
    paths.sort();
    paths.iter().chain(additional).map(|path| Ok(SigningKey::unlock(path, passwords)?)).collect()
}

#[cfg(test)]
mod tests;
