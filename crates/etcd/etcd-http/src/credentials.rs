//! HTTP basic authentication.
//!
//! bcrypt runs on a few blocking threads. Successful verifications are cached under a keyed hash of name, stored hash
//! and password; a changed password invalidates its entry, since the stored hash is part of the key. Passwords are
//! never stored or logged.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use etcd_store::PasswordHash;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::limits;

/// The user of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// No credentials.
    Guest,
    User(String),
    /// Invalid credentials.
    Invalid,
}

/// Name and password of a request. Not `Debug`: contains a secret.
struct BasicCredentials {
    name: String,
    password: String,
}

/// Verifies credentials.
pub(crate) struct Credentials {
    key: [u8; 32],
    verified: Mutex<Verified>,
    permits: Semaphore,
}

#[derive(Default)]
struct Verified {
    proofs: HashSet<[u8; 32]>,
    oldest_first: VecDeque<[u8; 32]>,
}

/// Hashing a password failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    #[error("hashing a password")]
    Bcrypt(#[from] bcrypt::BcryptError),
    #[error("hashing a password was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
    #[error("no more passwords are hashed")]
    Closed(#[from] tokio::sync::AcquireError),
}

impl Credentials {
    /// `key` must be random, and different in each process.
    pub(crate) fn new(key: [u8; 32]) -> Credentials {
        Credentials {
            key,
            verified: Mutex::default(),
            permits: Semaphore::new(limits::MAX_CONCURRENT_BCRYPT),
        }
    }

    /// Identifies the user. `stored` returns a user's hash by name.
    pub(crate) async fn identify(
        &self,
        headers: &HeaderMap,
        stored: impl FnOnce(&str) -> Option<PasswordHash>,
    ) -> Identity {
        let Some(header) = headers.get(AUTHORIZATION) else { return Identity::Guest };
        let Some(credentials) = decode(header.as_bytes()) else { return Identity::Invalid };
        let Some(stored) = stored(&credentials.name) else { return Identity::Invalid };
        let proof = self.proof(&credentials, &stored);
        if self.verified.lock().unwrap_or_else(PoisonError::into_inner).proofs.contains(&proof) {
            return Identity::User(credentials.name);
        }
        match self.verify(credentials.password, stored).await {
            Ok(true) => {
                self.verified.lock().unwrap_or_else(PoisonError::into_inner).remember(proof);
                Identity::User(credentials.name)
            }
            Ok(false) => Identity::Invalid,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a password could not be checked");
                Identity::Invalid
            }
        }
    }

    fn proof(&self, credentials: &BasicCredentials, stored: &PasswordHash) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        for part in [&credentials.name, &stored.0, &credentials.password] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().into()
    }

    async fn verify(&self, password: String, stored: PasswordHash) -> Result<bool, HashError> {
        let _turn = self.permits.acquire().await?;
        Ok(tokio::task::spawn_blocking(move || bcrypt::verify(password, &stored.0)).await??)
    }

    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<PasswordHash, HashError> {
        let _turn = self.permits.acquire().await?;
        let hash = tokio::task::spawn_blocking(move || bcrypt::hash(password, limits::BCRYPT_COST)).await??;
        Ok(PasswordHash(hash))
    }
}

impl Verified {
    fn remember(&mut self, proof: [u8; 32]) {
        if !self.proofs.insert(proof) {
            return;
        }
        self.oldest_first.push_back(proof);
        if self.oldest_first.len() > limits::MAX_CACHED_CREDENTIALS
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.proofs.remove(&oldest);
        }
    }
}

fn decode(header: &[u8]) -> Option<BasicCredentials> {
    let (scheme, rest) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest.trim_ascii()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some(BasicCredentials { name: name.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let check = |header: &str, expect: Option<(&str, &str)>| {
            let found = decode(header.as_bytes());
            let found =
                found.as_ref().map(|credentials| (credentials.name.as_str(), credentials.password.as_str()));
            assert_eq!(found, expect, "{header}");
        };
        check("Basic cm9vdDpwYTpzcw==", Some(("root", "pa:ss")));
        check("basic dTo=", Some(("u", "")));
        check("Basic cm9vdA==", None);
        check("Bearer cm9vdDpw", None);
        check("Basic *", None);
        check("", None);
    }

    #[test]
    fn the_cache_is_bounded_and_depends_on_the_stored_hash() {
        let credentials = Credentials::new([7; 32]);
        let sent = BasicCredentials { name: "u".into(), password: "p".into() };
        let (old, new) = (PasswordHash("a".into()), PasswordHash("b".into()));
        assert_ne!(credentials.proof(&sent, &old), credentials.proof(&sent, &new));
        let mut verified = Verified::default();
        for number in 0..limits::MAX_CACHED_CREDENTIALS as u64 + 10 {
            let mut proof = [0; 32];
            proof[..8].copy_from_slice(&number.to_le_bytes());
            verified.remember(proof);
        }
        assert_eq!(verified.proofs.len(), limits::MAX_CACHED_CREDENTIALS);
        assert!(!verified.proofs.contains(&[0; 32]));
    }
}
