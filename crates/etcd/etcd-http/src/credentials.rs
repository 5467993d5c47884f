//! Who sends a request, by HTTP basic authentication.
//!
//! bcrypt runs on threads of its own, a few at once; what it found right is remembered under a keyed hash of
//! name, stored hash and password. It must never keep or log a password, and a changed password makes its
//! memory void by itself: the stored hash is part of the key.

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

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// No credentials were sent.
    Guest,
    User(String),
    /// Credentials that are not right.
    Nobody,
}

/// A name and password, as sent. No `Debug`: it holds a secret.
struct Sent {
    name: String,
    password: String,
}

/// What tells right credentials from wrong ones.
pub(crate) struct Credentials {
    key: [u8; 32],
    verified: Mutex<Verified>,
    turns: Semaphore,
}

#[derive(Default)]
struct Verified {
    known: HashSet<[u8; 32]>,
    oldest_first: VecDeque<[u8; 32]>,
}

/// A password could not be hashed.
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
    /// `key` is random: two processes do not share what their memory looks like.
    pub(crate) fn new(key: [u8; 32]) -> Credentials {
        Credentials { key, verified: Mutex::default(), turns: Semaphore::new(limits::BCRYPT_AT_ONCE) }
    }

    /// `stored` gives a user's hash by name.
    pub(crate) async fn who(
        &self,
        headers: &HeaderMap,
        stored: impl FnOnce(&str) -> Option<PasswordHash>,
    ) -> Who {
        let Some(header) = headers.get(AUTHORIZATION) else { return Who::Guest };
        let Some(sent) = decode(header.as_bytes()) else { return Who::Nobody };
        let Some(stored) = stored(&sent.name) else { return Who::Nobody };
        let proof = self.proof(&sent, &stored);
        if self.verified.lock().unwrap_or_else(PoisonError::into_inner).known.contains(&proof) {
            return Who::User(sent.name);
        }
        match self.verify(sent.password, stored).await {
            Ok(true) => {
                self.verified.lock().unwrap_or_else(PoisonError::into_inner).remember(proof);
                Who::User(sent.name)
            }
            Ok(false) => Who::Nobody,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a password could not be checked");
                Who::Nobody
            }
        }
    }

    fn proof(&self, sent: &Sent, stored: &PasswordHash) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        for part in [&sent.name, &stored.0, &sent.password] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().into()
    }

    async fn verify(&self, password: String, stored: PasswordHash) -> Result<bool, HashError> {
        let _turn = self.turns.acquire().await?;
        Ok(tokio::task::spawn_blocking(move || bcrypt::verify(password, &stored.0)).await??)
    }

    /// A hash for a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<PasswordHash, HashError> {
        let _turn = self.turns.acquire().await?;
        let hash = tokio::task::spawn_blocking(move || bcrypt::hash(password, limits::BCRYPT_COST)).await??;
        Ok(PasswordHash(hash))
    }
}

impl Verified {
    fn remember(&mut self, proof: [u8; 32]) {
        if !self.known.insert(proof) {
            return;
        }
        self.oldest_first.push_back(proof);
        if self.oldest_first.len() > limits::CREDENTIALS_KEPT
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

fn decode(header: &[u8]) -> Option<Sent> {
    let (scheme, rest) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest.trim_ascii()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some(Sent { name: name.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let check = |header: &str, expect: Option<(&str, &str)>| {
            let found = decode(header.as_bytes());
            let found = found.as_ref().map(|sent| (sent.name.as_str(), sent.password.as_str()));
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
    fn memory_is_bounded_and_depends_on_the_stored_hash() {
        let credentials = Credentials::new([7; 32]);
        let sent = Sent { name: "u".into(), password: "p".into() };
        let (old, new) = (PasswordHash("a".into()), PasswordHash("b".into()));
        assert_ne!(credentials.proof(&sent, &old), credentials.proof(&sent, &new));
        let mut verified = Verified::default();
        for number in 0..limits::CREDENTIALS_KEPT as u64 + 10 {
            let mut proof = [0; 32];
            proof[..8].copy_from_slice(&number.to_le_bytes());
            verified.remember(proof);
        }
        assert_eq!(verified.known.len(), limits::CREDENTIALS_KEPT);
        assert!(!verified.known.contains(&[0; 32]));
    }
}
