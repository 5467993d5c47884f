//! The online key: it says which version a channel has now, and until when that word counts (contract 5.2.3).
//!
//! It must never sign anything else: what a version is, is signed elsewhere by a key that is not here.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};
use release::{Digest, KeyText, MetadataError, SCHEMA, Timestamp};
use semver::Version;

use crate::limits::{TIMESTAMP_AGE, TIMESTAMP_LIFE};

const SECRET: &str = "online.key";
/// What belongs on the machines.
pub const PUBLIC: &str = "online.pub";

#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("the online key {0}")]
    Io(PathBuf, #[source] io::Error),
    #[error("the online key {0} is no minisign key without password")]
    Key(PathBuf, #[source] minisign::PError),
    #[error("a timestamp could not be signed")]
    Sign(#[source] minisign::PError),
    #[error("a timestamp cannot be")]
    Metadata(#[source] MetadataError),
}

/// A channel's word as it is served.
#[derive(Debug, Clone)]
pub struct Signed {
    pub bytes: Vec<u8>,
    pub signature: String,
    pub issued: u64,
}

pub struct Signer {
    secret: SecretKey,
    public: PublicKey,
    /// By channel, version and what the version is.
    made: HashMap<(String, Version, Digest), Signed>,
    /// No timestamp is ever older than one that went out: machines would refuse it.
    issued: u64,
}

impl Signer {
    /// Reads the key at `key`, or that in `folder`, or makes one there. The public half is written into `folder`.
    ///
    /// # Errors
    /// It cannot be read or written, or is none.
    pub fn open(folder: &Path, key: Option<&Path>, issued: u64) -> Result<Self, SigningError> {
        let path = key.map_or_else(|| folder.join(SECRET), Path::to_owned);
        let failed = |error| SigningError::Io(path.clone(), error);
        let no_key = |error| SigningError::Key(path.clone(), error);
        let secret = match fs::read_to_string(&path) {
            Ok(text) => {
                let text = SecretKeyBox::from_string(&text).map_err(no_key)?;
                text.into_unencrypted_secret_key().map_err(no_key)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && key.is_none() => {
                let pair = KeyPair::generate_unencrypted_keypair().map_err(no_key)?;
                let text = pair.sk.to_box(Some("online key of a Keelson channel server")).map_err(no_key)?;
                service::file::replace(&path, text.into_string().as_bytes(), 0o600).map_err(failed)?;
                pair.sk
            }
            Err(error) => return Err(failed(error)),
        };
        let public = PublicKey::from_secret_key(&secret).map_err(no_key)?;
        let text = public.to_box().map_err(no_key)?.to_string();
        service::file::replace(&folder.join(PUBLIC), text.as_bytes(), 0o644).map_err(failed)?;
        Ok(Self { secret, public, made: HashMap::new(), issued })
    }

    /// That `channel` has `version`, which is `release`: as it was signed some hours ago, or now.
    ///
    /// # Errors
    /// Only where there is no randomness.
    pub fn timestamp(
        &mut self,
        channel: &str,
        version: &Version,
        release: Digest,
        now: u64,
    ) -> Result<Signed, SigningError> {
        let place = (channel.to_owned(), version.clone(), release);
        let fresh =
            |signed: &&Signed| (signed.issued..signed.issued + TIMESTAMP_AGE).contains(&now.max(self.issued));
        if let Some(signed) = self.made.get(&place).filter(fresh) {
            return Ok(signed.clone());
        }
        self.issued = self.issued.max(now);
        let issued = self.issued;
        let timestamp = Timestamp {
            schema: SCHEMA,
            channel: channel.to_owned(),
            version: version.clone(),
            release_sha256: release,
            issued,
            expires: issued + TIMESTAMP_LIFE,
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
        let signed = Signed { bytes, signature: signature.into_string(), issued };
        // Machines take no word that is older than the last they heard of a channel, about whatever version that was.
        self.made.retain(|(of, ..), signed| {
            signed.issued + TIMESTAMP_AGE > issued && (of != channel || signed.issued >= issued)
        });
        self.made.insert(place, signed.clone());
        Ok(signed)
    }

    /// The public half of the key, as sets of keys name it.
    pub fn public(&self) -> Option<KeyText> {
        let text = self.public.to_box().ok()?.to_string();
        KeyText::of_file(&text).ok()
    }

    /// The newest time that was signed.
    pub fn issued(&self) -> u64 {
        self.issued
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

    use super::*;

    #[test]
    fn timestamps_are_signed_kept_for_hours_and_never_older_than_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let mut signer = Signer::open(folder.path(), None, 0).unwrap();
        let version = Version::new(2, 0, 0);
        let sign =
            |signer: &mut Signer, now| signer.timestamp("alpha", &version, Digest([1; 32]), now).unwrap();
        let first = sign(&mut signer, 1000);
        let mut keys = release::Keys::default();
        keys.add(PUBLIC, &fs::read_to_string(folder.path().join(PUBLIC)).unwrap()).unwrap();
        keys.verify(&first.bytes, &first.signature).unwrap();
        let read = Timestamp::parse(&first.bytes).unwrap();
        assert_eq!(
            (read.channel.as_str(), read.issued, read.expires),
            ("alpha", 1000, 1000 + TIMESTAMP_LIFE)
        );
        assert_eq!(sign(&mut signer, 1000 + TIMESTAMP_AGE - 1).signature, first.signature);
        assert_eq!(sign(&mut signer, 1000 + TIMESTAMP_AGE).issued, 1000 + TIMESTAMP_AGE);
        // Another version's word is newer: so is the next about this one.
        let other = Version::new(1, 0, 0);
        let later = 1001 + TIMESTAMP_AGE;
        signer.timestamp("alpha", &other, Digest([2; 32]), later).unwrap();
        assert_eq!(sign(&mut signer, later).issued, later);
        // The clock was set back: what went out is not undone.
        assert_eq!(sign(&mut signer, 5).issued, later);

        let mut again = Signer::open(folder.path(), None, signer.issued()).unwrap();
        let signed = sign(&mut again, 5);
        keys.verify(&signed.bytes, &signed.signature).unwrap();
        assert_eq!(signed.issued, later);
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder.path().join(SECRET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
