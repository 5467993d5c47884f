//! Notes beside the semaphore: who holds it since when, from which boot, and why.
//!
//! They are for people and for the rule of stale holders; the lock itself never depends on them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::VALUE_BYTES;
use crate::semaphore::Semaphore;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When it took the lock, by its own clock.
    pub since: Timestamp,
    /// The boot that it took the lock in. Empty where a person took it: then it is not the machine's own to give back.
    #[serde(rename = "bootID", default)]
    pub boot_id: String,
    /// Of the system that runs there then.
    #[serde(default)]
    pub version: String,
    /// One sentence.
    #[serde(default)]
    pub reason: String,
}

/// By holder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes(BTreeMap<String, Note>);

#[derive(Debug, Error)]
#[error("the value is no list of notes")]
pub struct NotesError(#[source] Option<serde_json::Error>);

impl Notes {
    /// # Errors
    /// It is no such JSON.
    pub fn decode(text: &str) -> Result<Self, NotesError> {
        if text.len() > VALUE_BYTES {
            return Err(NotesError(None));
        }
        serde_json::from_str(text).map_err(|error| NotesError(Some(error)))
    }

    #[must_use]
    pub fn encode(&self) -> String {
        // invariant: a map whose keys are text.
        #[expect(clippy::expect_used)]
        go_compat::to_string(self).expect("plain data can be written")
    }

    #[must_use]
    pub fn of(&self, holder: &str) -> Option<&Note> {
        self.0.get(holder)
    }

    pub fn put(&mut self, holder: &str, note: Note) {
        self.0.insert(holder.to_owned(), note);
    }

    /// Forgets those who do not hold the semaphore any more. The notes must have been read before the semaphore: who
    /// takes the lock writes its note afterwards, so that none is lost of one who took it in between.
    pub fn keep_holders_of(&mut self, semaphore: &Semaphore) {
        self.0.retain(|holder, _| semaphore.is_held_by(holder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(since: &str) -> Note {
        Note {
            since: since.parse().unwrap(),
            boot_id: "b1".into(),
            version: "1.2.3".into(),
            reason: "update".into(),
        }
    }

    #[test]
    fn as_they_are_stored() {
        let mut notes = Notes::default();
        notes.put("m2", note("2026-11-21T15:00:00Z"));
        notes.put("m1", note("2026-11-21T14:00:00.5Z"));
        let text = notes.encode();
        assert_eq!(
            text,
            r#"{"m1":{"since":"2026-11-21T14:00:00.5Z","bootID":"b1","version":"1.2.3","reason":"update"},"m2":{"since":"2026-11-21T15:00:00Z","bootID":"b1","version":"1.2.3","reason":"update"}}"#
        );
        assert_eq!(Notes::decode(&text).unwrap(), notes);
        let short = Notes::decode(r#"{"a":{"since":"2026-11-21T15:00:00Z"}}"#).unwrap();
        assert_eq!(short.of("a").unwrap().boot_id, "");
        for text in ["", "[]", r#"{"a":{}}"#, r#"{"a":{"since":"yesterday"}}"#] {
            assert!(Notes::decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn who_holds_no_more_is_forgotten() {
        let mut notes = Notes::default();
        notes.put("a", note("2026-11-21T15:00:00Z"));
        notes.put("b", note("2026-11-21T15:00:00Z"));
        let mut semaphore = Semaphore::default();
        semaphore.lock("b").unwrap();
        notes.keep_holders_of(&semaphore);
        assert!(notes.of("a").is_none() && notes.of("b").is_some());
    }
}
