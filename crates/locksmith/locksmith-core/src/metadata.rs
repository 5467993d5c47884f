//! Metadata of the lock's holders: since when, in which boot, and why.
//!
//! Used for status output and to detect stale holders. The lock itself never depends on it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::MAX_VALUE_BYTES;
use crate::semaphore::Semaphore;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderMetadata {
    /// When the holder took the lock, by its own clock.
    pub since: Timestamp,
    /// The boot in which the machine took the lock. Empty if an operator took it; the machine must not release
    /// it then.
    #[serde(rename = "bootID", default)]
    pub boot_id: String,
    /// The OS version at that time.
    #[serde(default)]
    pub version: String,
    /// One sentence.
    #[serde(default)]
    pub reason: String,
}

/// By holder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockMetadata(BTreeMap<String, HolderMetadata>);

#[derive(Debug, Error)]
#[error("the value is no list of notes")]
pub struct MetadataError(#[source] Option<serde_json::Error>);

impl LockMetadata {
    /// # Errors
    /// The text is not valid JSON of this schema.
    pub fn decode(text: &str) -> Result<Self, MetadataError> {
        if text.len() > MAX_VALUE_BYTES {
            return Err(MetadataError(None));
        }
        serde_json::from_str(text).map_err(|error| MetadataError(Some(error)))
    }

    #[must_use]
    pub fn encode(&self) -> String {
        // invariant: a map with string keys always serializes.
        #[expect(clippy::expect_used)]
        go_compat::to_string(self).expect("plain data can be written")
    }

    #[must_use]
    pub fn get(&self, holder: &str) -> Option<&HolderMetadata> {
        self.0.get(holder)
    }

    pub fn insert(&mut self, holder: &str, metadata: HolderMetadata) {
        self.0.insert(holder.to_owned(), metadata);
    }

    /// Removes entries of machines that no longer hold the semaphore. Read the metadata before the semaphore: a
    /// holder writes its entry after it takes the lock, so a concurrent entry is never lost.
    pub fn retain_holders(&mut self, semaphore: &Semaphore) {
        self.0.retain(|holder, _| semaphore.is_held_by(holder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(since: &str) -> HolderMetadata {
        HolderMetadata {
            since: since.parse().unwrap(),
            boot_id: "b1".into(),
            version: "1.2.3".into(),
            reason: "update".into(),
        }
    }

    #[test]
    fn stored_format() {
        let mut metadata = LockMetadata::default();
        metadata.insert("m2", holder("2026-11-21T15:00:00Z"));
        metadata.insert("m1", holder("2026-11-21T14:00:00.5Z"));
        let text = metadata.encode();
        assert_eq!(
            text,
            r#"{"m1":{"since":"2026-11-21T14:00:00.5Z","bootID":"b1","version":"1.2.3","reason":"update"},"m2":{"since":"2026-11-21T15:00:00Z","bootID":"b1","version":"1.2.3","reason":"update"}}"#
        );
        assert_eq!(LockMetadata::decode(&text).unwrap(), metadata);
        let short = LockMetadata::decode(r#"{"a":{"since":"2026-11-21T15:00:00Z"}}"#).unwrap();
        assert_eq!(short.get("a").unwrap().boot_id, "");
        for text in ["", "[]", r#"{"a":{}}"#, r#"{"a":{"since":"yesterday"}}"#] {
            assert!(LockMetadata::decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn removes_former_holders() {
        let mut metadata = LockMetadata::default();
        metadata.insert("a", holder("2026-11-21T15:00:00Z"));
        metadata.insert("b", holder("2026-11-21T15:00:00Z"));
        let mut semaphore = Semaphore::default();
        semaphore.lock("b").unwrap();
        metadata.retain_holders(&semaphore);
        assert!(metadata.get("a").is_none() && metadata.get("b").is_some());
    }
}
