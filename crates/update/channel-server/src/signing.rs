//! The online key. It signs timestamps: which version a channel has, and until when that is valid (contract 5.2.3).
//!
//! It signs nothing else: releases are signed by a key that is not on this server.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};
use release::{Digest, MetadataError, PublicKeyBytes, SCHEMA, Timestamp, public_key};
use semver::Version;

use crate::limits::{MAX_CLOCK_DIFFERENCE, TIMESTAMP_LIFETIME, TIMESTAMP_REFRESH};
use crate::offline_keys::{ONLINE_COMMENT, OfflineKey, offline_key};

const SECRET: &str = "online.key";
/// The public key, for machines.
pub const PUBLIC: &str = "online.pub";

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
    #[error("cannot sign a timestamp")]
    Sign(#[source] minisign::PError),
    #[error("cannot create a timestamp")]
    Metadata(#[source] MetadataError),
}

/// Unix time before which the clock is not set: this program was written later.
const EARLIEST: u64 = 1_790_000_000;

/// A signed timestamp.
#[derive(Debug, Clone)]
pub struct SignedTimestamp {
    pub bytes: Vec<u8>,
    pub signature: String,
    pub issued: u64,
}

pub struct Signer {
    secret: SecretKey,
    public: PublicKey,
    /// By channel, version and digest of the release.
    cache: HashMap<(String, Version, Digest), SignedTimestamp>,
    /// Issue time of the latest timestamp. It does not decrease, since machines reject older timestamps, unless it is so
    /// far ahead of the clock that they reject it, too.
    issued: u64,
}

impl Signer {
    /// Reads the key at `key`, or the one in `folder`, or generates that. Writes the public key to `folder`.
    ///
    /// # Errors
    /// The key cannot be read or written, is invalid, or has an offline key beside it.
    pub fn open(folder: &Path, key: Option<&Path>, issued: u64) -> Result<Self, SigningError> {
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
        Ok(Self { secret, public, cache: HashMap::new(), issued })
    }

    /// The timestamp for `version` of `channel`, with digest `release`: from the cache, or signed now.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn timestamp(
        &mut self,
        channel: &str,
        version: &Version,
        release: Digest,
        now: u64,
    ) -> Result<SignedTimestamp, SigningError> {
        let key = (channel.to_owned(), version.clone(), release);
        if self.issued > now.saturating_add(MAX_CLOCK_DIFFERENCE) && now > EARLIEST {
            let issued = self.issued;
            tracing::error!(
                issued,
                now,
                "the clock was ahead when the last timestamp was issued, or is behind now"
            );
            // Machines whose clock is right did not accept it.
            self.issued = now;
            self.cache.clear();
        }
        let issued = self.issued.max(now);
        let is_fresh =
            |signed: &&SignedTimestamp| (signed.issued..signed.issued + TIMESTAMP_REFRESH).contains(&issued);
        if let Some(signed) = self.cache.get(&key).filter(is_fresh) {
            return Ok(signed.clone());
        }
        self.issued = issued;
        let timestamp = Timestamp {
            schema: SCHEMA,
            channel: channel.to_owned(),
            version: version.clone(),
            release_sha256: release,
            issued,
            expires: issued + TIMESTAMP_LIFETIME,
        };
        let bytes = timestamp.to_bytes().map_err(SigningError::Metadata)?;
        let comment = format!("{channel} {version} {}", timestamp.expires);
        let signature = minisign::sign(
            Some(&self.public),
            &self.secret,
            &*bytes,
            Some(&comment),
            Some("Keelson channel server"),
        )
        .map_err(SigningError::Sign)?;
        let signed = SignedTimestamp { bytes, signature: signature.into_string(), issued };
        // Machines reject a timestamp that is older than the last one of the channel, whatever its version.
        self.cache.retain(|(of, ..), signed| {
            signed.issued + TIMESTAMP_REFRESH > issued && (of != channel || signed.issued >= issued)
        });
        self.cache.insert(key, signed.clone());
        Ok(signed)
    }

    /// The public key, as root metadata lists it.
    pub fn public(&self) -> Option<PublicKeyBytes> {
        let text = self.public.to_box().ok()?.to_string();
        public_key(PUBLIC, &text).ok()
    }

    /// Issue time of the latest timestamp.
    pub fn issued(&self) -> u64 {
        self.issued
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
        Signer::open(folder.path(), None, 0).unwrap();
        let secret = KeyPair::generate_unencrypted_keypair().unwrap().sk;
        let text = secret.to_box(Some("Keelson's release key own")).unwrap().into_string();
        fs::write(at("release.key"), &text).unwrap();
        for key in [None, Some(at(SECRET))] {
            let refused = Signer::open(folder.path(), key.as_deref(), 0);
            assert!(matches!(refused, Err(SigningError::Offline { .. })));
        }
        fs::rename(at("release.key"), at(SECRET)).unwrap();
        assert!(matches!(Signer::open(folder.path(), None, 0), Err(SigningError::IsOffline(_))));
    }

    #[test]
    fn timestamps_are_cached_and_never_decrease() {
        let folder = tempfile::tempdir().unwrap();
        let mut signer = Signer::open(folder.path(), None, 0).unwrap();
        let version = Version::new(2, 0, 0);
        let sign =
            |signer: &mut Signer, now| signer.timestamp("alpha", &version, Digest([1; 32]), now).unwrap();
        let first = sign(&mut signer, 1000);
        let mut keys = release::Keys::default();
        keys.add(PUBLIC, &fs::read_to_string(folder.path().join(PUBLIC)).unwrap()).unwrap();
        keys.verify(&first.bytes, &first.signature).unwrap();
        let parsed = Timestamp::parse(&first.bytes).unwrap();
        assert_eq!(
            (parsed.channel.as_str(), parsed.issued, parsed.expires),
            ("alpha", 1000, 1000 + TIMESTAMP_LIFETIME)
        );
        assert_eq!(sign(&mut signer, 1000 + TIMESTAMP_REFRESH - 1).signature, first.signature);
        assert_eq!(sign(&mut signer, 1000 + TIMESTAMP_REFRESH).issued, 1000 + TIMESTAMP_REFRESH);
        // A timestamp of another version is newer, so the next one of this version must be signed again.
        let other = Version::new(1, 0, 0);
        let later = 1001 + TIMESTAMP_REFRESH;
        signer.timestamp("alpha", &other, Digest([2; 32]), later).unwrap();
        assert_eq!(sign(&mut signer, later).issued, later);
        // The clock was set back.
        assert_eq!(sign(&mut signer, later - 5).issued, later);

        let mut reopened = Signer::open(folder.path(), None, signer.issued()).unwrap();
        let signed = sign(&mut reopened, later - 5);
        keys.verify(&signed.bytes, &signed.signature).unwrap();
        assert_eq!(signed.issued, later);
        // It was a day and more ahead.
        let ahead = EARLIEST + 10 * MAX_CLOCK_DIFFERENCE;
        assert_eq!(sign(&mut reopened, ahead).issued, ahead);
        assert_eq!(sign(&mut reopened, ahead - MAX_CLOCK_DIFFERENCE).issued, ahead);
        let corrected = ahead - MAX_CLOCK_DIFFERENCE - 1;
        assert_eq!(sign(&mut reopened, corrected).issued, corrected);
        assert_eq!(sign(&mut reopened, corrected + 1).issued, corrected);
        // A clock that is not set yet.
        assert_eq!(sign(&mut reopened, 5).issued, corrected);
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder.path().join(SECRET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
