//! The semaphore: how many may reboot at once, and who does.
//!
//! Its JSON is the one that locksmith writes and reads (Go's `encoding/json`): three keys, no spaces, holders
//! ascending, and `null` for the list of one that nobody held yet. `semaphore == max - holders` holds for whatever
//! was created by a semaphore's own operations.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::VALUE_BYTES;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Semaphore {
    /// How many may still take it; below zero where `max` was lowered beneath what is held.
    #[serde(default)]
    semaphore: i64,
    #[serde(default)]
    max: i64,
    /// Ascending: locksmith searches in halves. `None` is `null`.
    #[serde(default)]
    holders: Option<Vec<String>>,
}

/// The value of the key is no semaphore.
#[derive(Debug, Error)]
pub enum SemaphoreError {
    #[error("the value of {0} bytes is too long for a semaphore")]
    TooLong(usize),
    #[error("the value is no semaphore")]
    Json(#[from] serde_json::Error),
}

/// Why a semaphore stays as it is. The texts are the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LockError {
    #[error("semaphore is at {0}")]
    Taken(i64),
    #[error("holder exists")]
    HolderExists,
    #[error("holder does not exist")]
    NoSuchHolder,
    #[error("the maximum cannot be negative")]
    NegativeMaximum,
    /// Only a value that somebody else wrote can get there.
    #[error("the numbers are out of range")]
    Range,
}

/// What a daemon that wants the lock has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquire {
    /// It is to be written back.
    New,
    /// It had it before; nothing was changed.
    Held,
}

impl Default for Semaphore {
    /// As it is created: one at a time, nobody yet.
    fn default() -> Self {
        Self { semaphore: 1, max: 1, holders: None }
    }
}

impl Semaphore {
    /// Reads the key's value. Holders that are not ascending are put in order, so that writing it back mends it.
    ///
    /// # Errors
    /// It is no such JSON.
    pub fn decode(text: &str) -> Result<Self, SemaphoreError> {
        if text.len() > VALUE_BYTES {
            return Err(SemaphoreError::TooLong(text.len()));
        }
        // Of a field that comes twice the last counts, as in Go; and a list is no semaphore.
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)?;
        let mut read: Self = serde_json::from_value(fields.into())?;
        if let Some(holders) = &mut read.holders {
            holders.sort_unstable();
        }
        Ok(read)
    }

    /// The key's value, one line.
    #[must_use]
    pub fn encode(&self) -> String {
        // invariant: numbers and text, which JSON always has.
        #[expect(clippy::expect_used)]
        go_compat::to_string(self).expect("plain data can be written")
    }

    /// How many may still take it.
    #[must_use]
    pub fn available(&self) -> i64 {
        self.semaphore
    }

    #[must_use]
    pub fn max(&self) -> i64 {
        self.max
    }

    #[must_use]
    pub fn holders(&self) -> &[String] {
        self.holders.as_deref().unwrap_or_default()
    }

    #[must_use]
    pub fn is_held_by(&self, id: &str) -> bool {
        self.holders().binary_search_by(|holder| holder.as_str().cmp(id)).is_ok()
    }

    /// Takes the lock for `id`. That nothing is left comes before `id` having it already: so it always was.
    ///
    /// # Errors
    /// [`LockError::Taken`], [`LockError::HolderExists`].
    pub fn lock(&mut self, id: &str) -> Result<(), LockError> {
        if self.semaphore <= 0 {
            return Err(LockError::Taken(self.semaphore));
        }
        let holders = self.holders.get_or_insert_default();
        match holders.binary_search_by(|holder| holder.as_str().cmp(id)) {
            Ok(_) => Err(LockError::HolderExists),
            Err(place) => {
                holders.insert(place, id.to_owned());
                self.semaphore -= 1;
                Ok(())
            }
        }
    }

    /// [`Self::lock`] for a daemon, which goes on where it has the lock already, however much is left.
    ///
    /// # Errors
    /// [`LockError::Taken`].
    pub fn acquire(&mut self, id: &str) -> Result<Acquire, LockError> {
        if self.is_held_by(id) {
            return Ok(Acquire::Held);
        }
        self.lock(id).map(|()| Acquire::New)
    }

    /// Gives the lock of `id` back.
    ///
    /// # Errors
    /// [`LockError::NoSuchHolder`].
    pub fn unlock(&mut self, id: &str) -> Result<(), LockError> {
        let more = self.semaphore.checked_add(1).ok_or(LockError::Range)?;
        let holders = self.holders.get_or_insert_default();
        let place = holders.binary_search_by(|holder| holder.as_str().cmp(id));
        holders.remove(place.map_err(|_| LockError::NoSuchHolder)?);
        self.semaphore = more;
        Ok(())
    }

    /// Lets `max` hold it at once; the maximum before. Who has it keeps it.
    ///
    /// # Errors
    /// [`LockError::NegativeMaximum`].
    pub fn set_max(&mut self, max: i64) -> Result<i64, LockError> {
        if max < 0 {
            return Err(LockError::NegativeMaximum);
        }
        let more = max.checked_sub(self.max).ok_or(LockError::Range)?;
        self.semaphore = self.semaphore.checked_add(more).ok_or(LockError::Range)?;
        Ok(std::mem::replace(&mut self.max, max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: &str = r#"{"semaphore":1,"max":1,"holders":null}"#;

    /// Words: `lock a`, `unlock a`, `max 3`, and `acquire a`.
    fn act(semaphore: &mut Semaphore, words: &str) -> String {
        let (verb, argument) = words.split_once(' ').unwrap();
        let done = match verb {
            "lock" => semaphore.lock(argument).map(|()| "done".to_owned()),
            "unlock" => semaphore.unlock(argument).map(|()| "done".to_owned()),
            "acquire" => semaphore.acquire(argument).map(|got| format!("{got:?}")),
            _ => semaphore.set_max(argument.parse().unwrap()).map(|old| format!("was {old}")),
        };
        done.unwrap_or_else(|error| error.to_string())
    }

    fn check(before: &str, words: &str, answer: &str, after: &str) {
        let mut semaphore = Semaphore::decode(before).unwrap();
        assert_eq!(act(&mut semaphore, words), answer, "{before} {words}");
        assert_eq!(semaphore.encode(), after, "{before} {words}");
    }

    #[test]
    fn a_new_one() {
        assert_eq!(Semaphore::default().encode(), FRESH);
    }

    #[test]
    fn operations() {
        let one = r#"{"semaphore":0,"max":1,"holders":["b"]}"#;
        let none = r#"{"semaphore":1,"max":1,"holders":[]}"#;
        check(FRESH, "lock b", "done", one);
        check(one, "lock b", "semaphore is at 0", one);
        check(one, "acquire b", "Held", one);
        check(one, "acquire a", "semaphore is at 0", one);
        check(none, "acquire b", "New", one);
        check(one, "unlock b", "done", none);
        check(none, "unlock b", "holder does not exist", none);
        check(one, "max 3", "was 1", r#"{"semaphore":2,"max":3,"holders":["b"]}"#);
        check(FRESH, "max 3", "was 1", r#"{"semaphore":3,"max":3,"holders":null}"#);
        check(one, "max 0", "was 1", r#"{"semaphore":-1,"max":0,"holders":["b"]}"#);
        check(one, "max -1", "the maximum cannot be negative", one);
        let two = r#"{"semaphore":1,"max":2,"holders":["b"]}"#;
        check(two, "lock b", "holder exists", two);
        check(two, "lock a", "done", r#"{"semaphore":0,"max":2,"holders":["a","b"]}"#);
        let lowered = r#"{"semaphore":-1,"max":1,"holders":["a","b"]}"#;
        check(lowered, "lock c", "semaphore is at -1", lowered);
        check(lowered, "unlock a", "done", one);
    }

    #[test]
    fn what_others_write() {
        check(r#"{"semaphore":1,"max":1}"#, "lock a", "done", r#"{"semaphore":0,"max":1,"holders":["a"]}"#);
        check(
            r#"{"max":1,"semaphore":1,"holders":[]}"#,
            "max 1",
            "was 1",
            r#"{"semaphore":1,"max":1,"holders":[]}"#,
        );
        check(
            r#"{ "semaphore": 1, "max": 4, "holders": ["c","a","b"], "more": 1 }"#,
            "unlock a",
            "done",
            r#"{"semaphore":2,"max":4,"holders":["b","c"]}"#,
        );
        check(FRESH, "lock <&>", "done", r#"{"semaphore":0,"max":1,"holders":["\u003c\u0026\u003e"]}"#);
        let high = r#"{"semaphore":9223372036854775807,"max":1,"holders":["a"]}"#;
        check(high, "unlock a", "the numbers are out of range", high);
        check(r#"{"semaphore":2,"max":1,"semaphore":1}"#, "max 1", "was 1", FRESH);
        for text in ["", "[]", "null", r#"{"semaphore":"1"}"#, r#"{"semaphore":1.5}"#, r#"{"holders":[1]}"#] {
            assert!(Semaphore::decode(text).is_err(), "{text}");
        }
    }
}
