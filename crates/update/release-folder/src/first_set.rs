//! The first key set and its root keys, together in one folder or each in a place of its own.

use std::fs;
use std::path::{Path, PathBuf};

use release::{KeySet, Role, SCHEMA, files};

use crate::key_sets::{KeySetError, KeySetStatus, ROOTS, public_keys, write};
use crate::keys::{ensure_absent, generate_pair, secret_key_path};
use crate::password::Password;

/// Number of root keys, of [`ROOTS`], that must sign.
const THRESHOLD: usize = 2;

/// The first set and its root keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct FirstSet<'a> {
    /// One existing folder for each root key; empty: they are created in the folder of the set.
    pub root_folders: &'a [PathBuf],
    /// Encrypts the root keys.
    pub password: Option<&'a Password>,
    /// Unix time in seconds.
    pub issued: u64,
    /// Unix time in seconds.
    pub expires: u64,
}

impl FirstSet<'_> {
    /// Paths of the secret root keys, `root-1.key` to `root-3.key`, for a set in `folder`.
    ///
    /// # Errors
    /// The root folders are not three different existing folders.
    pub fn root_keys(&self, folder: &Path) -> Result<Vec<PathBuf>, KeySetError> {
        let names = (1..=ROOTS).map(root_name);
        if self.root_folders.is_empty() {
            return Ok(names.map(|name| secret_key_path(folder, &name)).collect());
        }
        if self.root_folders.len() != ROOTS {
            return Err(KeySetError::RootFolders(self.root_folders.len()));
        }
        let mut places = Vec::new();
        for folder in self.root_folders {
            // Never created: a medium that is not mounted would be a folder of this disk.
            let place =
                folder.canonicalize().map_err(|source| KeySetError::Read { path: folder.clone(), source })?;
            if places.contains(&place) {
                return Err(KeySetError::SameRootFolder(folder.clone()));
            }
            places.push(place);
        }
        Ok(self.root_folders.iter().zip(names).map(|(folder, name)| secret_key_path(folder, &name)).collect())
    }

    /// Checks that [`create_first_set`] overwrites nothing in `folder` and in the root folders.
    ///
    /// # Errors
    /// A file exists already, or a root folder does not.
    pub fn check(&self, folder: &Path) -> Result<(), KeySetError> {
        let path = folder.join(files::keys(1));
        if path.exists() {
            return Err(KeySetError::Exists(path));
        }
        let secrets = self.root_keys(folder)?;
        let public: Vec<_> = secrets.iter().map(|secret| public_path(folder, secret)).collect();
        Ok(ensure_absent(secrets.iter().chain(&public))?)
    }
}

fn public_path(folder: &Path, secret: &Path) -> PathBuf {
    folder.join(Role::Root.name()).join(secret.with_extension("pub").file_name().unwrap_or_default())
}

fn root_name(number: usize) -> String {
    format!("{}-{number}", Role::Root.name())
}

/// Generates three root keys and the first set, which they sign, in `folder`. The set contains them and the public keys
/// in `folder/release` and `folder/channel`.
///
/// # Errors
/// A file exists already or cannot be written. No root key is left then.
pub fn create_first_set(folder: &Path, first: &FirstSet<'_>) -> Result<KeySetStatus, KeySetError> {
    first.check(folder)?;
    let secrets = first.root_keys(folder)?;
    let create = || {
        let mut keys = Vec::new();
        for (secret, number) in secrets.iter().zip(1..) {
            let comment = format!("Keelson's {} key", root_name(number));
            keys.push(generate_pair(secret, &public_path(folder, secret), &comment, first.password)?);
        }
        let of = |role: Role| public_keys(&folder.join(role.name()));
        let set = KeySet {
            schema: SCHEMA,
            epoch: 1,
            issued: first.issued,
            expires: first.expires,
            threshold: THRESHOLD,
            root: of(Role::Root)?,
            release: of(Role::Release)?,
            channel: of(Role::Channel)?,
        };
        write(folder, &set, &keys)
    };
    create().inspect_err(|_| {
        // A medium may be full or read-only. The next attempt creates all of them. They did not exist before, and no set
        // names them.
        for secret in secrets.iter().filter(|_| !folder.join(files::keys(1)).exists()) {
            for path in [secret.clone(), public_path(folder, secret)] {
                fs::remove_file(path).ok();
            }
        }
    })
}
