//! Keys of those who release, in minisign's format.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};
use release::KeyText;

#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("{0} is there already: a key is never overwritten")]
    Exists(PathBuf),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is no minisign secret key: {why}")]
    Format { path: PathBuf, why: String },
    #[error("a key could not be made: {0}")]
    Make(String),
    #[error("the signature could not be made: {0}")]
    Sign(String),
}

/// A key that signs.
pub struct Secret(SecretKey);

/// Two pairs: one for releases, to be kept off every server, and one that a channel's server signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeKeys {
    pub release: PathBuf,
    pub channel: PathBuf,
}

/// Makes both pairs in `folder`: `release.key`, `channel.key` for their owner alone, and `release/NAME.pub`,
/// `channel/NAME.pub` as they go into an image or below `/etc/keelson/keys.d`.
pub fn make_keys(folder: &Path, name: &str) -> Result<MadeKeys, KeysError> {
    let mut made = Vec::new();
    for kind in ["release", "channel"] {
        let secret = folder.join(format!("{kind}.key"));
        if secret.exists() {
            return Err(KeysError::Exists(secret));
        }
        made.push((kind, secret));
    }
    for (kind, secret) in &made {
        let public = folder.join(kind).join(format!("{name}.pub"));
        make_pair(secret, &public, &format!("Keelson's {kind} key {name}"))?;
    }
    Ok(MadeKeys { release: folder.join("release.key"), channel: folder.join("channel.key") })
}

/// Makes one pair, its secret half for its owner alone.
pub fn make_pair(secret: &Path, public: &Path, comment: &str) -> Result<(), KeysError> {
    for path in [secret, public] {
        if path.exists() {
            return Err(KeysError::Exists(path.to_owned()));
        }
    }
    let pair = KeyPair::generate_unencrypted_keypair().map_err(|error| KeysError::Make(error.to_string()))?;
    let text =
        |made: Result<String, minisign::PError>| made.map_err(|error| KeysError::Make(error.to_string()));
    let secret_text = text(pair.sk.to_box(Some(comment)).map(SecretKeyBox::into_string))?;
    let public_text = text(pair.pk.to_box().map(minisign::PublicKeyBox::into_string))?;
    put(secret, &secret_text, 0o600)?;
    put(public, &public_text, 0o644)
}

pub fn put(path: &Path, text: &str, mode: u32) -> Result<(), KeysError> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| service::file::replace(path, text.as_bytes(), mode))
        .map_err(|source| KeysError::Write { path: path.to_owned(), source })
}

impl Secret {
    /// Reads a key's file; one that is encrypted asks for its password on the terminal.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        let text =
            fs::read_to_string(path).map_err(|source| KeysError::Read { path: path.to_owned(), source })?;
        let wrong =
            |error: minisign::PError| KeysError::Format { path: path.to_owned(), why: error.to_string() };
        let boxed = || SecretKeyBox::from_string(&text).map_err(wrong);
        // An encrypted one is refused by the first.
        let key = match boxed()?.into_unencrypted_secret_key() {
            Ok(key) => key,
            Err(_) => boxed()?.into_secret_key(None).map_err(wrong)?,
        };
        Ok(Self(key))
    }

    /// What others know it by.
    pub fn public(&self) -> Result<KeyText, KeysError> {
        let public = PublicKey::from_secret_key(&self.0).and_then(|public| public.to_box());
        let text = public.map_err(|error| KeysError::Make(error.to_string()))?.to_string();
        KeyText::of_file(&text).map_err(|error| KeysError::Make(error.to_string()))
    }

    /// The text of a signature's file. `about` is signed too, and shown by minisign.
    pub fn sign(&self, bytes: &[u8], about: &str) -> Result<String, KeysError> {
        let signed = minisign::sign(None, &self.0, bytes, Some(about), Some("signature by Keelson"));
        signed.map(|signature| signature.to_string()).map_err(|error| KeysError::Sign(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use release::Keys;

    use super::*;

    #[test]
    fn made_keys_sign_and_are_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let made = make_keys(folder.path(), "test").unwrap();
        let mut keys = Keys::default();
        keys.add("x", &fs::read_to_string(folder.path().join("release/test.pub")).unwrap()).unwrap();
        let signature = Secret::read(&made.release).unwrap().sign(b"text", "about").unwrap();
        keys.verify(b"text", &signature).unwrap();
        let other = Secret::read(&made.channel).unwrap().sign(b"text", "about").unwrap();
        keys.verify(b"text", &other).unwrap_err();
        assert_eq!(made.release.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(make_keys(folder.path(), "test"), Err(KeysError::Exists(_))));
    }

    #[test]
    fn what_is_no_key_is_told_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        fs::write(&path, "nonsense").unwrap();
        assert!(matches!(Secret::read(&path), Err(KeysError::Format { .. })));
    }
}
