//! Signing keys, whose files are in minisign's format.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use minisign::{KeyPair, SecretKey, SecretKeyBox};
use release::{PublicKeyBytes, SecretKeyHeader};
use tuf::{Ed25519Signer, Signer};
use update_core::roots::Role;

use crate::password::{Password, Passwords};

/// Folder of the channel key in the folder of all keys. The channel server refuses a key that has offline keys beside it.
const SERVER: &str = "server";

/// Of the ed25519 seed in a decrypted secret key, after algorithms, salt, limits and key id (minisign, "Secret key
/// format"). The public key follows.
const SEED: Range<usize> = 62..94;
const PUBLIC: Range<usize> = 94..126;

/// Why a key was not generated, read or used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum KeysError {
    #[error("{0} already exists: keys are not overwritten")]
    Exists(PathBuf),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not a minisign secret key: {why}")]
    Format { path: PathBuf, why: String },
    #[error("{0} is encrypted: its password is missing")]
    Encrypted(PathBuf),
    #[error("wrong password for {0}")]
    WrongPassword(PathBuf),
    #[error("cannot decrypt {path}")]
    Password { path: PathBuf, source: Box<dyn Error + Send + Sync> },
    #[error("cannot create a key: {0}")]
    Make(String),
}

/// A secret key, which signs TUF's metadata.
pub struct SigningKey {
    signer: Box<dyn Signer>,
    public: PublicKeyBytes,
}

/// The secret keys: an offline one for releases, and one for a channel server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedKeys {
    /// Path of the secret key for releases.
    pub release: PathBuf,
    /// Path of the secret key for channels.
    pub channel: PathBuf,
}

/// Path of the secret key `name` (`release`, `channel`, `root-2`) in the folder of all keys.
#[must_use]
pub fn secret_key_path(folder: &Path, name: &str) -> PathBuf {
    let file = format!("{name}.key");
    if name == Role::Channel.name() { folder.join(SERVER).join(file) } else { folder.join(file) }
}

/// Like [`secret_key_path`]; if only a channel key beside the other keys exists, as older versions created it, that one.
#[must_use]
pub fn existing_key_path(folder: &Path, name: &str) -> PathBuf {
    let (path, older) = (secret_key_path(folder, name), folder.join(format!("{name}.key")));
    if !path.exists() && older.exists() { older } else { path }
}

/// Generates both key pairs in `folder`: `release.key`, encrypted with `password`, `server/channel.key`, which a server
/// reads unattended and which is therefore unencrypted, and `release/NAME.pub`, `channel/NAME.pub` for an image or
/// `/etc/keelson/keys.d`.
///
/// # Errors
/// A key exists already or cannot be written.
pub fn generate_keys(
    folder: &Path,
    name: &str,
    password: Option<&Password>,
) -> Result<GeneratedKeys, KeysError> {
    let of = |role: Role| existing_key_path(folder, role.name());
    let (release, channel) = (of(Role::Release), of(Role::Channel));
    ensure_absent([&release, &channel])?;
    for (role, secret, password) in [(Role::Release, &release, password), (Role::Channel, &channel, None)] {
        let kind = role.name();
        let public = folder.join(kind).join(format!("{name}.pub"));
        generate_pair(secret, &public, &format!("Keelson's {kind} key {name}"), password)?;
    }
    Ok(GeneratedKeys { release, channel })
}

/// Fails if one of the files exists.
pub(crate) fn ensure_absent<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), KeysError> {
    let found = paths.into_iter().find(|path| path.exists());
    found.map_or(Ok(()), |path| Err(KeysError::Exists(path.clone())))
}

/// Generates a key pair. The secret key is readable by its owner only, where the file system has permissions, and
/// encrypted if there is a password.
pub(crate) fn generate_pair(
    secret: &Path,
    public: &Path,
    comment: &str,
    password: Option<&Password>,
) -> Result<SigningKey, KeysError> {
    ensure_absent([&secret.to_owned(), &public.to_owned()])?;
    let made = |error: minisign::PError| KeysError::Make(error.to_string());
    let pair = match password {
        Some(password) => KeyPair::generate_encrypted_keypair(Some(password.text())),
        None => KeyPair::generate_unencrypted_keypair(),
    };
    let pair = pair.map_err(made)?;
    let boxed = pair.sk.to_box(Some(comment)).map_err(made)?;
    // Decrypted from the text that is written: a key whose file cannot be read signs nothing.
    let key = match password {
        Some(password) => boxed.clone().into_secret_key(Some(password.text())).map_err(made)?,
        None => pair.sk,
    };
    write_secret(secret, &boxed.into_string())?;
    write_file(public, pair.pk.to_box().map_err(made)?.into_string().as_bytes(), 0o644)?;
    SigningKey::new(&key).ok_or_else(|| KeysError::Make("its public key is not that of its seed".to_owned()))
}

/// Without a change of permissions after the creation: FAT, the usual file system of USB sticks, refuses it.
fn write_secret(path: &Path, text: &str) -> Result<(), KeysError> {
    let write = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(|source| KeysError::Write { path: path.to_owned(), source })
}

pub(crate) fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeysError> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| service::file::replace(path, bytes, mode))
        .map_err(|source| KeysError::Write { path: path.to_owned(), source })
}

impl SigningKey {
    /// `None` if the public key in `secret` is another key's: signatures with it would give the secret key away.
    fn new(secret: &SecretKey) -> Option<Self> {
        let bytes = secret.to_bytes();
        let signer = Ed25519Signer::from_seed(bytes.get(SEED)?)?;
        let public = bytes.get(PUBLIC)?.try_into().ok()?;
        let is_pair = *signer.key() == tuf::Key::ed25519(&public);
        is_pair.then(|| Self { signer: Box::new(signer), public })
    }

    /// Reads an unencrypted secret key.
    ///
    /// # Errors
    /// The file cannot be read, is no secret key, or is encrypted.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        Self::unlock(path, &mut None)
    }

    /// Reads a secret key, and decrypts it with one of `passwords` if it is encrypted.
    ///
    /// # Errors
    /// The file cannot be read, is no secret key, or none of the passwords is right.
    pub fn unlock(path: &Path, passwords: &mut dyn Passwords) -> Result<Self, KeysError> {
        let text =
            fs::read_to_string(path).map_err(|source| KeysError::Read { path: path.to_owned(), source })?;
        let format = |why: String| KeysError::Format { path: path.to_owned(), why };
        let header =
            SecretKeyHeader::of_file(&text).ok_or_else(|| format("unexpected content".to_owned()))?;
        let boxed = || SecretKeyBox::from(text.clone());
        let pair = |key: &SecretKey| {
            Self::new(key).ok_or_else(|| format("its public key is not that of its seed".to_owned()))
        };
        if !header.is_encrypted {
            return pair(&boxed().into_unencrypted_secret_key().map_err(|error| format(error.to_string()))?);
        }
        let mut rejected = 0;
        loop {
            let failed = |source| KeysError::Password { path: path.to_owned(), source };
            let Some(password) = passwords.next(path, rejected).map_err(failed)? else {
                return Err(match rejected {
                    0 => KeysError::Encrypted(path.to_owned()),
                    _ => KeysError::WrongPassword(path.to_owned()),
                });
            };
            match boxed().into_secret_key(Some(password.text())) {
                Ok(key) => return pair(&key),
                // The checksum of the decrypted key.
                Err(error) if matches!(error.kind(), minisign::ErrorKind::Verify) => rejected += 1,
                Err(error) => return Err(format(error.to_string())),
            }
        }
    }

    /// The public key of this secret key.
    #[must_use]
    pub fn public(&self) -> &PublicKeyBytes {
        &self.public
    }

    /// Signs TUF's metadata. Its key has no name, and therefore another id than in a root.
    #[must_use]
    pub fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    /// Like [`SigningKey::signer`].
    #[must_use]
    pub fn into_signer(self) -> Box<dyn Signer> {
        self.signer
    }
}

#[cfg(test)]
mod tests;
