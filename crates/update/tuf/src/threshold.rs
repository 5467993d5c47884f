//! Thresholds: how many different keys of a role made a signature.

use std::collections::{BTreeMap, BTreeSet};

use crate::key::{Key, KeyId};
use crate::metadata::{RoleKeys, Signature};

/// Fewer keys signed than the role demands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signed by {found} of {threshold} keys of role {role}")]
pub struct NotSigned {
    /// The role whose keys count.
    pub role: String,
    /// Number of different keys with a valid signature.
    pub found: u64,
    /// Number that is necessary.
    pub threshold: u64,
}

/// Verifies that enough keys of a role signed `message`, the canonical form of the metadata.
///
/// A key counts once, whatever ids it has. Signatures of other keys, and those that do not verify, count nothing.
///
/// # Errors
/// The threshold is not reached.
pub fn verify_threshold(
    role: &str,
    rule: &RoleKeys,
    keys: &BTreeMap<KeyId, Key>,
    message: &[u8],
    signatures: &[Signature],
) -> Result<(), NotSigned> {
    let found = signing_keys(rule, keys, message, signatures).len() as u64;
    if found >= rule.threshold.get() {
        Ok(())
    } else {
        Err(NotSigned { role: role.to_owned(), found, threshold: rule.threshold.get() })
    }
}

/// The ids of the role's keys that signed `message`: one for each key, in the order of the signatures.
pub(crate) fn signing_keys(
    rule: &RoleKeys,
    keys: &BTreeMap<KeyId, Key>,
    message: &[u8],
    signatures: &[Signature],
) -> Vec<KeyId> {
    let mut counted = BTreeSet::new();
    let mut ids = Vec::new();
    for Signature { keyid, sig, .. } in
        signatures.iter().filter(|signature| rule.keyids.contains(&signature.keyid))
    {
        let key = keys.get(keyid);
        if let Some(identity) = key.and_then(Key::identity)
            && key.is_some_and(|key| key.verifies(message, sig))
            && counted.insert(identity)
        {
            ids.push(keyid.clone());
        }
    }
    ids
}
