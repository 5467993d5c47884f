//! The online key. It signs which version a channel has, and until when that is valid (contract 5.2.3).
//!
//! It signs nothing else: releases are listed by metadata that a key signs which is not on this server.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};
use release::PublicKeyBytes;
use tuf::{Ed25519Signer, Key, KeyId, ListedSigner, RoleKeys, Signer as _};

use crate::offline_keys::{ONLINE_COMMENT, OfflineKey, offline_key};

const SECRET: &str = "online.key";
/// The public key, for root metadata.
pub const PUBLIC: &str = "online.pub";
/// Places in a decrypted secret key.
const SEED: Range<usize> = 62..94;
const PUBLIC_PART: Range<usize> = 94..126;

#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("cannot access the online key {0}")]
    Io(PathBuf, #[source] io::Error),
    #[error(
        "{key} is in the folder of the online key {online}: whoever takes over this server could sign with it"
    )]
    Offline { key: OfflineKey, online: PathBuf },
    #[error("{0} cannot be the online key: it belongs on no server")]
    IsOffline(OfflineKey),
    #[error("the online key {0} is not a minisign key without a password")]
    Key(PathBuf, #[source] minisign::PError),
    #[error("the online key {0} is damaged: its public key is not that of its seed")]
    Pair(PathBuf),
}

pub struct OnlineKey {
    signer: Ed25519Signer,
    public: PublicKeyBytes,
}

impl OnlineKey {
    /// Reads the key at `key`, or the one in `folder`, or generates that. Writes the public key to `folder`.
    ///
    /// # Errors
    /// The key cannot be read or written, is invalid, or has an offline key beside it.
    pub fn open(folder: &Path, key: Option<&Path>) -> Result<Self, SigningError> {
        let path = key.map_or_else(|| folder.join(SECRET), Path::to_owned);
        let failed = |error| SigningError::Io(path.clone(), error);
        let invalid_key = |error| SigningError::Key(path.clone(), error);
        if let Some(key) = beside(&path).map_err(failed)? {
            return Err(match key.path.file_name() == path.file_name() {
                true => SigningError::IsOffline(key),
                false => SigningError::Offline { key, online: path },
            });
        }
        let secret = match fs::read_to_string(&path) {
            Ok(text) => {
                let text = SecretKeyBox::from_string(&text).map_err(invalid_key)?;
                text.into_unencrypted_secret_key().map_err(invalid_key)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && key.is_none() => {
                let pair = KeyPair::generate_unencrypted_keypair().map_err(invalid_key)?;
                let text = pair.sk.to_box(Some(ONLINE_COMMENT)).map_err(invalid_key)?;
                service::file::replace(&path, text.into_string().as_bytes(), 0o600).map_err(failed)?;
                pair.sk
            }
            Err(error) => return Err(failed(error)),
        };
        let public = PublicKey::from_secret_key(&secret).map_err(invalid_key)?;
        let text = public.to_box().map_err(invalid_key)?.to_string();
        service::file::replace(&folder.join(PUBLIC), text.as_bytes(), 0o644).map_err(failed)?;
        Self::of(&secret).ok_or(SigningError::Pair(path))
    }

    /// `None` if the public key in `secret` is another key's: signatures with it would give the secret key away.
    fn of(secret: &SecretKey) -> Option<Self> {
        let bytes = secret.to_bytes();
        let signer = Ed25519Signer::from_seed(bytes.get(SEED)?)?;
        let public = bytes.get(PUBLIC_PART)?.try_into().ok()?;
        (*signer.key() == Key::ed25519(&public)).then_some(Self { signer, public })
    }

    /// The public key.
    pub fn public(&self) -> &PublicKeyBytes {
        &self.public
    }

    /// The key as a role lists it. `None` if the role has other keys only.
    pub fn listed(&self, role: &RoleKeys, keys: &BTreeMap<KeyId, Key>) -> Option<ListedSigner<'_>> {
        ListedSigner::of(role, keys, &self.signer)
    }
}

/// An offline key in the folder of the key, or of the file that it links to.
fn beside(key: &Path) -> io::Result<Option<OfflineKey>> {
    let target = fs::canonicalize(key).ok();
    for path in [Some(key), target.as_deref()].into_iter().flatten() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Some(found) = offline_key(folder, Some(path))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

    use super::*;

    #[test]
    fn an_online_key_with_an_offline_key_beside_it_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        OnlineKey::open(folder.path(), None).unwrap();
        let secret = KeyPair::generate_unencrypted_keypair().unwrap().sk;
        let text = secret.to_box(Some("Keelson's release key own")).unwrap().into_string();
        fs::write(at("release.key"), &text).unwrap();
        for key in [None, Some(at(SECRET))] {
            let refused = OnlineKey::open(folder.path(), key.as_deref());
            assert!(matches!(refused, Err(SigningError::Offline { .. })));
        }
        fs::rename(at("release.key"), at(SECRET)).unwrap();
        assert!(matches!(OnlineKey::open(folder.path(), None), Err(SigningError::IsOffline(_))));
    }

    #[test]
    fn a_generated_key_is_secret_and_is_read_again() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let key = OnlineKey::open(folder.path(), None).unwrap();
        let mode = fs::metadata(folder.path().join(SECRET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(OnlineKey::open(folder.path(), None).unwrap().public(), key.public());
        let text = fs::read_to_string(folder.path().join(PUBLIC)).unwrap();
        assert_eq!(release::public_key(PUBLIC, &text).unwrap(), *key.public());
    }

    /// Signing with a seed and another public key gives the seed away.
    #[test]
    fn a_key_with_another_public_key_is_not_opened() {
        let [one, other] = [(); 2].map(|()| KeyPair::generate_unencrypted_keypair().unwrap().sk);
        assert!(OnlineKey::of(&one).is_some());
        let mut bytes = one.to_bytes();
        bytes[PUBLIC_PART].copy_from_slice(&other.to_bytes()[PUBLIC_PART]);
        assert!(OnlineKey::of(&SecretKey::from_bytes(&bytes).unwrap()).is_none());
    }
}
