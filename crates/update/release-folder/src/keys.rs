//! Signing keys in minisign's format.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};
use release::KeyText;

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
    #[error("cannot create a key: {0}")]
    Make(String),
    #[error("cannot create the signature: {0}")]
    Sign(String),
}

/// A secret key.
pub struct SigningKey(SecretKey);

/// The secret keys: an offline one for releases, and one for a channel server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedKeys {
    /// Path of the secret key for releases.
    pub release: PathBuf,
    /// Path of the secret key for timestamps.
    pub channel: PathBuf,
}

/// Generates both key pairs in `folder`: `release.key`, `channel.key` (private), and `release/NAME.pub`,
/// `channel/NAME.pub` for an image or `/etc/keelson/keys.d`.
pub fn generate_keys(folder: &Path, name: &str) -> Result<GeneratedKeys, KeysError> {
    let mut result = Vec::new();
    for kind in ["release", "channel"] {
        let secret = folder.join(format!("{kind}.key"));
        if secret.exists() {
            return Err(KeysError::Exists(secret));
        }
        result.push((kind, secret));
    }
    for (kind, secret) in &result {
        let public = folder.join(kind).join(format!("{name}.pub"));
        generate_pair(secret, &public, &format!("Keelson's {kind} key {name}"))?;
    }
    Ok(GeneratedKeys { release: folder.join("release.key"), channel: folder.join("channel.key") })
}

/// Generates a key pair. The secret key is readable by its owner only.
pub fn generate_pair(secret: &Path, public: &Path, comment: &str) -> Result<(), KeysError> {
    for path in [secret, public] {
        if path.exists() {
            return Err(KeysError::Exists(path.to_owned()));
        }
    }
    let pair = KeyPair::generate_unencrypted_keypair().map_err(|error| KeysError::Make(error.to_string()))?;
    let text =
        |result: Result<String, minisign::PError>| result.map_err(|error| KeysError::Make(error.to_string()));
    let secret_text = text(pair.sk.to_box(Some(comment)).map(SecretKeyBox::into_string))?;
    let public_text = text(pair.pk.to_box().map(minisign::PublicKeyBox::into_string))?;
    write_file(secret, &secret_text, 0o600)?;
    write_file(public, &public_text, 0o644)
}

pub fn write_file(path: &Path, text: &str, mode: u32) -> Result<(), KeysError> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| service::file::replace(path, text.as_bytes(), mode))
        .map_err(|source| KeysError::Write { path: path.to_owned(), source })
}

impl SigningKey {
    /// Reads a secret key. Prompts for the password of an encrypted one.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        let text =
            fs::read_to_string(path).map_err(|source| KeysError::Read { path: path.to_owned(), source })?;
        let wrong =
            |error: minisign::PError| KeysError::Format { path: path.to_owned(), why: error.to_string() };
        let boxed = || SecretKeyBox::from_string(&text).map_err(wrong);
        // Fails for an encrypted key.
        let key = match boxed()?.into_unencrypted_secret_key() {
            Ok(key) => key,
            Err(_) => boxed()?.into_secret_key(None).map_err(wrong)?,
        };
        Ok(Self(key))
    }

    /// The public key of this secret key.
    pub fn public(&self) -> Result<KeyText, KeysError> {
        let public = PublicKey::from_secret_key(&self.0).and_then(|public| public.to_box());
        let text = public.map_err(|error| KeysError::Make(error.to_string()))?.to_string();
        KeyText::of_file(&text).map_err(|error| KeysError::Make(error.to_string()))
    }

    /// Returns the text of a signature file. `about` is the trusted comment, which is signed and shown by minisign.
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
    fn generated_keys_sign_and_are_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let result = generate_keys(folder.path(), "test").unwrap();
        let mut keys = Keys::default();
        keys.add("x", &fs::read_to_string(folder.path().join("release/test.pub")).unwrap()).unwrap();
        let signature = SigningKey::read(&result.release).unwrap().sign(b"text", "about").unwrap();
        keys.verify(b"text", &signature).unwrap();
        let other = SigningKey::read(&result.channel).unwrap().sign(b"text", "about").unwrap();
        keys.verify(b"text", &other).unwrap_err();
        assert_eq!(result.release.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(generate_keys(folder.path(), "test"), Err(KeysError::Exists(_))));
    }

    #[test]
    fn an_invalid_key_is_reported_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        fs::write(&path, "nonsense").unwrap();
        assert!(matches!(SigningKey::read(&path), Err(KeysError::Format { .. })));
    }
}
