//! Updates of the key set (contract 5.1).
//!
//! Key sets form a chain: each one is signed by a threshold of root keys of its predecessor, and by a threshold of
//! its own, which proves that the new keys can sign. A chain is accepted completely or not at all.

use release::{FileName, KeySet, MetadataError, SignatureError};

/// Limit for one chain.
pub const MAX_STEPS: usize = 64;

/// An unverified key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedKeySet {
    /// The content of `keys.N.json`.
    pub bytes: Vec<u8>,
    /// Concatenated minisign signatures.
    pub signatures: String,
}

/// The machine's time, Unix time in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// By the machine's clock.
    pub now: u64,
    /// Of the running image. A clock before it is wrong; expiry is not checked then.
    pub build_time: u64,
}

impl Clock {
    #[must_use]
    pub(crate) fn is_wrong(self) -> bool {
        self.now < self.build_time
    }
}

/// Why a key set is rejected. The current one stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ChainError {
    #[error("invalid signatures of key set {epoch}: {why}")]
    Signature { epoch: u64, why: SignatureError },
    #[error("key set {epoch} needs signatures by {wanted} root keys of set {of}, and has {}", names(.found))]
    TooFew { epoch: u64, of: u64, wanted: usize, found: Vec<FileName> },
    #[error("key set {expected}: {why}")]
    Metadata { expected: u64, why: MetadataError },
    #[error("key set {} must be followed by set {expected}, not by {found}", expected - 1)]
    Epoch { found: u64, expected: u64 },
    #[error("key set {epoch} expired at {expires} (Unix time)")]
    Expired { epoch: u64, expires: u64 },
    #[error("too many key sets: {0}, the maximum is {MAX_STEPS}")]
    TooMany(usize),
    #[error("no key set can follow the highest epoch")]
    End,
}

fn names(found: &[FileName]) -> String {
    match found {
        [] => "none".to_owned(),
        found => found.iter().map(FileName::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// Verifies the chain `steps` from `trusted` and returns its last set, or `trusted` if the chain is empty.
///
/// # Errors
/// A set is invalid, or the last one is expired. Sets in between may be expired: the machine may have been off.
pub fn verify_chain(trusted: &KeySet, chain: &[SignedKeySet], clock: Clock) -> Result<KeySet, ChainError> {
    if chain.len() > MAX_STEPS {
        return Err(ChainError::TooMany(chain.len()));
    }
    let last = replay(trusted, chain)?;
    if !chain.is_empty() && !clock.is_wrong() && clock.now > last.expires {
        return Err(ChainError::Expired { epoch: last.epoch, expires: last.expires });
    }
    Ok(last)
}

/// Verifies the sets that were accepted after `trusted`, and returns the last one, expired or not.
///
/// # Errors
/// A set is invalid.
pub fn replay(trusted: &KeySet, accepted: &[SignedKeySet]) -> Result<KeySet, ChainError> {
    let mut last = trusted.clone();
    for link in accepted {
        last = verify_link(&last, link)?;
    }
    Ok(last)
}

/// Verifies one link. Parses the new set only after the threshold of the old one is reached.
fn verify_link(trusted: &KeySet, link: &SignedKeySet) -> Result<KeySet, ChainError> {
    let expected = trusted.epoch.checked_add(1).ok_or(ChainError::End)?;
    check_threshold(trusted, link, expected)?;
    let set = KeySet::parse(&link.bytes).map_err(|why| ChainError::Metadata { expected, why })?;
    if set.epoch != expected {
        return Err(ChainError::Epoch { found: set.epoch, expected });
    }
    check_threshold(&set, link, expected)?;
    Ok(set)
}

fn check_threshold(of: &KeySet, link: &SignedKeySet, epoch: u64) -> Result<(), ChainError> {
    let found = of.signed_by(&link.bytes, &link.signatures);
    let found = found.map_err(|why| ChainError::Signature { epoch, why })?;
    if found.len() < of.threshold {
        let found = found.into_iter().cloned().collect();
        return Err(ChainError::TooFew { epoch, of: of.epoch, wanted: of.threshold, found });
    }
    Ok(())
}

/// The set with the higher epoch. The image's wins a tie, because it is verified at each read.
#[must_use]
pub fn newer(image: Option<KeySet>, followed: Option<KeySet>) -> Option<KeySet> {
    match (image, followed) {
        (Some(image), Some(followed)) => Some(if followed.epoch > image.epoch { followed } else { image }),
        (image, followed) => image.or(followed),
    }
}

#[cfg(test)]
mod tests;
