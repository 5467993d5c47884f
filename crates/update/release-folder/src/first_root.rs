//! The first root and its root keys, together in one folder or each in a place of its own.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use release::public_key;
use tuf::{Date, Root};
use update_core::repository::TARGETS_FILE;
use update_core::roots::{self, NamedKey, Role};

use crate::keys::{GeneratedKeys, SigningKey, ensure_absent, generate_keys, generate_pair, secret_key_path};
use crate::password::{Password, Passwords};
use crate::roots::{ROOT_KEYS, RootError, RootStatus};
use crate::sign::write_new;
use crate::targets::refresh_targets;

/// Number of root keys, of [`ROOT_KEYS`], that must sign.
const THRESHOLD: NonZeroU64 = NonZeroU64::new(2).unwrap();
const _: () = assert!(THRESHOLD.get() >= roots::MIN_THRESHOLD && THRESHOLD.get() <= ROOT_KEYS as u64);

/// The first root and its root keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct FirstRoot<'a> {
    /// One existing folder for each root key; empty: they are created in the folder of the root.
    pub root_folders: &'a [PathBuf],
    /// Encrypts the root keys.
    pub password: Option<&'a Password>,
    /// Unix time in seconds.
    pub expires: u64,
}

impl FirstRoot<'_> {
    /// Paths of the secret root keys, `root-1.key` to `root-3.key`, for a root in `folder`.
    ///
    /// # Errors
    /// The root folders are not three different existing folders.
    pub fn root_keys(&self, folder: &Path) -> Result<Vec<PathBuf>, RootError> {
        let names = (1..=ROOT_KEYS).map(root_name);
        if self.root_folders.is_empty() {
            return Ok(names.map(|name| secret_key_path(folder, &name)).collect());
        }
        if self.root_folders.len() != ROOT_KEYS {
            return Err(RootError::RootFolders(self.root_folders.len()));
        }
        let mut places = Vec::new();
        for folder in self.root_folders {
            // Never created: a medium that is not mounted would be a folder of this disk.
            let place =
                folder.canonicalize().map_err(|source| RootError::Read { path: folder.clone(), source })?;
            if places.contains(&place) {
                return Err(RootError::SameRootFolder(folder.clone()));
            }
            places.push(place);
        }
        Ok(self.root_folders.iter().zip(names).map(|(folder, name)| secret_key_path(folder, &name)).collect())
    }

    /// Checks that [`create_first_root`] overwrites nothing in `folder` and in the root folders.
    ///
    /// # Errors
    /// A file exists already, or a root folder does not.
    pub fn check(&self, folder: &Path) -> Result<(), RootError> {
        let path = folder.join(roots::file(1));
        if path.exists() {
            return Err(RootError::Exists(path));
        }
        let secrets = self.root_keys(folder)?;
        let public: Vec<_> = secrets.iter().map(|secret| public_path(folder, secret)).collect();
        Ok(ensure_absent(secrets.iter().chain(&public))?)
    }
}

/// Keys for tests, and what they signed first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnencryptedKeys {
    /// Paths of the secret keys for releases and channels.
    pub keys: GeneratedKeys,
    /// Path of `1.root.json`.
    pub root: PathBuf,
    /// Path of `targets.json`, which lists no release.
    pub targets: PathBuf,
}

/// Generates keys without passwords and the first root, all in `folder`: [`generate_keys`], then [`create_first_root`].
///
/// # Errors
/// A file exists already or cannot be written.
pub fn create_unencrypted(folder: &Path, name: &str, expires: u64) -> Result<UnencryptedKeys, RootError> {
    let keys = generate_keys(folder, name, None)?;
    let root = create_first_root(folder, &FirstRoot { expires, ..FirstRoot::default() }, &mut None)?.path;
    Ok(UnencryptedKeys { keys, root, targets: folder.join(TARGETS_FILE) })
}

fn public_path(folder: &Path, secret: &Path) -> PathBuf {
    folder.join(Role::Root.name()).join(secret.with_extension("pub").file_name().unwrap_or_default())
}

fn root_name(number: usize) -> String {
    format!("{}-{number}", Role::Root.name())
}

/// Generates three root keys and the first root, which they sign, in `folder`. The root lists them and the public keys
/// in `folder/release` and `folder/channel`. The first `targets.json`, which lists no release, is signed by the release
/// key, if that is in `folder`; `passwords` are for this key.
///
/// # Errors
/// A file exists already or cannot be written, or the password of the release key is wrong. No root key is left then.
pub fn create_first_root(
    folder: &Path,
    first: &FirstRoot<'_>,
    passwords: &mut dyn Passwords,
) -> Result<RootStatus, RootError> {
    first.check(folder)?;
    let secrets = first.root_keys(folder)?;
    let release = secret_key_path(folder, Role::Release.name());
    let release = release.exists().then(|| SigningKey::unlock(&release, passwords)).transpose()?;
    let create = || {
        let mut keys = Vec::new();
        for (secret, number) in secrets.iter().zip(1..) {
            let comment = format!("Keelson's {} key", root_name(number));
            keys.push(generate_pair(secret, &public_path(folder, secret), &comment, first.password)?);
        }
        let mut root = Root::new(expiry(first.expires)?, true);
        for role in Role::ALL {
            let threshold = if role == Role::Root { THRESHOLD } else { NonZeroU64::MIN };
            roots::set_keys(&mut root, role, &public_keys(&folder.join(role.name()))?, threshold);
        }
        let signers: Vec<_> = keys.iter().map(SigningKey::signer).collect();
        write_new(folder, &root, None, &signers)
    };
    let status = create().inspect_err(|_| {
        // A medium may be full or read-only. The next attempt creates all of them. They did not exist before, and no root
        // lists them.
        for secret in secrets.iter().filter(|_| !folder.join(roots::file(1)).exists()) {
            for path in [secret.clone(), public_path(folder, secret)] {
                fs::remove_file(path).ok();
            }
        }
    })?;
    let release: Vec<_> = release.iter().map(SigningKey::signer).collect();
    // Without it, `keelson release` starts the list.
    refresh_targets(folder, &release, &mut None)
        .map_err(|error| RootError::Targets { source: error.into() })?;
    Ok(status)
}

/// From Unix time in seconds.
pub(crate) fn expiry(seconds: u64) -> Result<Date, RootError> {
    Ok(Date::from_unix(seconds.try_into().unwrap_or(i64::MAX))?)
}

/// A key from a `.pub` file, named after the file.
pub(crate) fn named(path: &Path) -> Result<NamedKey, RootError> {
    let text =
        fs::read_to_string(path).map_err(|source| RootError::Read { path: path.to_owned(), source })?;
    let key = public_key(&path.display().to_string(), &text)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(NamedKey::new(name.parse()?, &key))
}

fn public_keys(folder: &Path) -> Result<Vec<NamedKey>, RootError> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "pub"));
    paths.sort();
    paths.iter().map(|path| named(path)).collect()
}
