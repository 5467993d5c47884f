//! Rotation: creates the next root and generates replacement keys.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use release::FileName;
use tuf::{Root, SPEC_VERSION, Signer};
use update_core::roots::{self, NamedKey, Role};

use crate::first_root::{expiry, named};
use crate::keys::{SigningKey, ensure_absent, existing_key_path, generate_pair, secret_key_path};
use crate::password::{Password, Passwords};
use crate::roots::{RootError, RootStatus, latest_status};
use crate::sign::{check_new, write_new};
use crate::targets::{TargetsError, refresh_targets};

/// Changes for the next root. Without any, the next root extends the validity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Keys to replace by new ones of the same role.
    pub replace: Vec<Replace>,
    /// Keys to remove, by name.
    pub revoke: Vec<(Role, String)>,
    /// `.pub` files of keys to add, named after the files.
    pub add: Vec<(Role, PathBuf)>,
    /// Keys to add that are in no file, such as on a token.
    pub add_keys: Vec<(Role, NamedKey)>,
    /// Number of root keys that must sign. `None` keeps the previous root's.
    pub threshold: Option<NonZeroU64>,
    /// Number of release keys that must sign `targets.json`. `None` keeps the previous root's.
    pub release_threshold: Option<NonZeroU64>,
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

/// Creates the next root in `folder`, signed by the available root keys. It expires at `expires`, Unix time in seconds.
///
/// A replaced secret key is renamed to `FILE.revoked-in-N.key`, and the new one takes its name. `targets.json` follows if
/// the root is complete, its release key is available, and release keys of the previous root signed it; else
/// [`refresh_targets`] or [`sign_targets`](crate::sign_targets) does it later.
///
/// # Errors
/// The preceding root lacks signatures, the change is invalid, or a password is wrong. No new key is left then.
pub fn rotate(
    folder: &Path,
    change: &Change,
    passwords: &mut dyn Passwords,
    expires: u64,
) -> Result<RootStatus, RootError> {
    rotate_with(folder, change, passwords, &[], expires)
}

/// Like [`rotate`], also signed by `tokens`: root keys that are in no file.
///
/// # Errors
/// See [`rotate`]; or such a key cannot sign.
pub fn rotate_with(
    folder: &Path,
    change: &Change,
    passwords: &mut dyn Passwords,
    tokens: &[&dyn Signer],
    expires: u64,
) -> Result<RootStatus, RootError> {
    let before = latest_status(folder)?;
    if !before.is_complete() {
        let missing = before.missing().join("; ");
        return Err(RootError::Incomplete { version: roots::version(&before.root), missing });
    }
    let old = before.root;
    let mut root = old.clone();
    SPEC_VERSION.clone_into(&mut root.header.spec_version);
    root.header.version = root.header.version.saturating_add(1);
    root.header.expires = expiry(expires)?;
    for (role, name) in &change.revoke {
        let at = position(&root, *role, name, |key| key.name.as_str() == name)?;
        edit(&mut root, *role, |keys| drop(keys.remove(at)));
    }
    for (role, path) in &change.add {
        let new = named(path)?;
        edit(&mut root, *role, |keys| keys.push(new));
    }
    for (role, new) in &change.add_keys {
        edit(&mut root, *role, |keys| keys.push(new.clone()));
    }
    for (role, threshold) in
        [(&mut root.roles.root, change.threshold), (&mut root.roles.targets, change.release_threshold)]
    {
        role.threshold = threshold.unwrap_or(role.threshold);
    }
    let version = roots::version(&root);
    let path = folder.join(roots::file(version));
    // Reject invalid changes before generating keys.
    check_new(&path, &root)?;
    // A replaced root key still signs: it belongs to the preceding root.
    let mut secrets = secrets(folder, &change.signers, passwords)?;
    let mut new_keys = Vec::new();
    let mut create = || {
        for replace in &change.replace {
            let new_key = new_key(folder, &root, replace, passwords)?;
            new_keys.push(new_key.clone());
            secrets.push(generate(&mut root, replace.role, &new_key, change.password.as_ref())?);
        }
        let signers: Vec<_> = secrets.iter().map(SigningKey::signer).chain(tokens.iter().copied()).collect();
        write_new(folder, &root, Some(&old), &signers)
    };
    let status = create().inspect_err(|_| {
        // The next attempt creates all of them. They did not exist before, and no root lists them.
        for new_key in new_keys.iter().filter(|_| !path.exists()) {
            for path in [&new_key.secret, &new_key.public] {
                fs::remove_file(path).ok();
            }
        }
    })?;
    for (replace, new_key) in change.replace.iter().zip(&new_keys) {
        put_in_place(folder, &replace.file, &new_key.secret, version)?;
    }
    if status.is_complete() {
        let signers: Vec<_> = secrets.iter().map(SigningKey::signer).collect();
        match refresh_targets(folder, &signers, passwords) {
            // Its status shows the missing signature.
            Ok(_) | Err(TargetsError::Refused { .. }) => {}
            Err(error) => return Err(RootError::Targets { source: error.into() }),
        }
    }
    Ok(status)
}

/// Renames the secret key `file`, and the new one to its name.
fn put_in_place(folder: &Path, file: &str, new_key: &Path, version: u64) -> Result<(), RootError> {
    let current = existing_key_path(folder, file);
    let revoked = current.with_file_name(format!("{file}.revoked-in-{version}.key"));
    for (from, to) in [(&*current, &*revoked), (new_key, &*secret_key_path(folder, file))] {
        if from.exists() {
            fs::rename(from, to).map_err(|source| RootError::Rename { path: from.to_owned(), source })?;
        }
    }
    Ok(())
}

/// Changes the keys of a role. Its threshold remains.
fn edit(root: &mut Root, role: Role, change: impl FnOnce(&mut Vec<NamedKey>)) {
    let mut keys = roots::named_keys(root, role);
    change(&mut keys);
    let threshold = role.in_root().first().and_then(|role| root.role(role)).map(|keys| keys.threshold);
    roots::set_keys(root, role, &keys, threshold.unwrap_or(NonZeroU64::MIN));
}

fn position(
    root: &Root,
    role: Role,
    name: &str,
    matches: impl Fn(&NamedKey) -> bool,
) -> Result<usize, RootError> {
    let found = roots::named_keys(root, role).iter().position(matches);
    let version = roots::version(root).saturating_sub(1);
    found.ok_or_else(|| RootError::NoKey { role: role.name(), name: name.to_owned(), version })
}

/// A key to generate.
#[derive(Clone)]
struct NewKey {
    /// Position of the replaced key in its role.
    at: usize,
    comment: String,
    /// Temporary until the rotation is complete.
    secret: PathBuf,
    public: PathBuf,
}

/// The place of a new key. Finds the replaced one by its secret key file; if that is lost, it is the only key of its
/// role, or has this name.
///
/// # Errors
/// There is no such key, or a file of the new one exists.
fn new_key(
    folder: &Path,
    root: &Root,
    replace: &Replace,
    passwords: &mut dyn Passwords,
) -> Result<NewKey, RootError> {
    let Replace { role, file } = replace;
    let current = existing_key_path(folder, file);
    let keys = roots::named_keys(root, *role);
    let at = if current.exists() {
        let secret = SigningKey::unlock(&current, passwords)?;
        position(root, *role, file, |key| key.is_key(secret.public()))?
    } else if keys.len() == 1 {
        0
    } else {
        position(root, *role, file, |key| base_name(&key.name) == file)?
    };
    let name = keys.get(at).map_or(file.as_str(), |key| base_name(&key.name));
    let version = roots::version(root);
    let public = folder.join(role.name()).join(format!("{name}.v{version}.pub"));
    let secret = secret_key_path(folder, file).with_file_name(format!("{file}.v{version}.key"));
    ensure_absent([&secret, &public])?;
    let comment = format!("Keelson's {} key {name}, of root version {version} on", role.name());
    Ok(NewKey { at, comment, secret, public })
}

/// Generates the pair, and lists its public key instead of the replaced one.
fn generate(
    root: &mut Root,
    role: Role,
    new_key: &NewKey,
    password: Option<&Password>,
) -> Result<SigningKey, RootError> {
    // A server reads the channel key unattended.
    let password = password.filter(|_| role != Role::Channel);
    let secret = generate_pair(&new_key.secret, &new_key.public, &new_key.comment, password)?;
    let new = named(&new_key.public)?;
    edit(root, role, |keys| {
        if let Some(key) = keys.get_mut(new_key.at) {
            *key = new;
        }
    });
    Ok(secret)
}

/// A key's name without the suffix of its root version.
fn base_name(name: &FileName) -> &str {
    let text = name.as_str();
    match text.rsplit_once(".v") {
        Some((base, number)) if number.parse::<u64>().is_ok() => base,
        _ => text,
    }
}

/// The root keys in the folder, and additional ones.
fn secrets(
    folder: &Path,
    additional: &[PathBuf],
    passwords: &mut dyn Passwords,
) -> Result<Vec<SigningKey>, RootError> {
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
pub(crate) mod tests;
