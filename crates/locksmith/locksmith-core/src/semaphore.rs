//! The semaphore: how many machines may reboot at the same time, and which ones do.
//!
//! Its JSON is that of locksmith (Go's `encoding/json`): three keys, no spaces, holders ascending, `null`
//! before the first holder. Semaphores changed only by these operations satisfy `semaphore == max - holders`.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::MAX_VALUE_BYTES;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Semaphore {
    /// The number of free slots. Negative if `max` was lowered below the number of holders.
    #[serde(default)]
    semaphore: i64,
    #[serde(default)]
    max: i64,
    /// Ascending: locksmith uses binary search. `None` is `null`.
    #[serde(default)]
    holders: Option<Vec<String>>,
}

/// The key's value is not a semaphore.
#[derive(Debug, Error)]
pub enum SemaphoreError {
    #[error("the value of {0} bytes is too long for a semaphore")]
    TooLong(usize),
    #[error("the value is no semaphore")]
    Json(#[from] serde_json::Error),
}

/// Why an operation is refused. The messages are part of the contract.
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
    /// Reachable only with a value that another client wrote.
    #[error("the numbers are out of range")]
    Range,
}

/// The result of [`Semaphore::acquire`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquire {
    /// Changed; must be written back.
    New,
    /// Already held; nothing changed.
    Held,
}

impl Default for Semaphore {
    /// The initial value: one slot, no holder.
    fn default() -> Self {
        Self { semaphore: 1, max: 1, holders: None }
    }
}

impl Semaphore {
    /// Parses the key's value. Sorts the holders, so that the next write repairs their order.
    ///
    /// # Errors
    /// The text is not valid JSON of this schema.
    pub fn decode(text: &str) -> Result<Self, SemaphoreError> {
        if text.len() > MAX_VALUE_BYTES {
            return Err(SemaphoreError::TooLong(text.len()));
        }
        // Like Go, takes the last of duplicate fields. Rejects arrays.
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)?;
        let mut read: Self = serde_json::from_value(fields.into())?;
        if let Some(holders) = &mut read.holders {
            holders.sort_unstable();
        }
        Ok(read)
    }

    /// The key's value on one line.
    #[must_use]
    pub fn encode(&self) -> String {
        // invariant: numbers and strings always serialize.
        #[expect(clippy::expect_used)]
        go_compat::to_string(self).expect("plain data can be written")
    }

    /// The number of free slots.
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

    /// Takes the lock for `id`. A full semaphore is reported before an existing holder, as locksmith does.
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
            Err(index) => {
                holders.insert(index, id.to_owned());
                self.semaphore -= 1;
                Ok(())
            }
        }
    }

    /// Like [`Self::lock`], but succeeds if `id` holds the lock already, even if the semaphore is full.
    ///
    /// # Errors
    /// [`LockError::Taken`].
    pub fn acquire(&mut self, id: &str) -> Result<Acquire, LockError> {
        if self.is_held_by(id) {
            return Ok(Acquire::Held);
        }
        self.lock(id).map(|()| Acquire::New)
    }

    /// Releases the lock of `id`.
    ///
    /// # Errors
    /// [`LockError::NoSuchHolder`].
    pub fn unlock(&mut self, id: &str) -> Result<(), LockError> {
        let increment = self.semaphore.checked_add(1).ok_or(LockError::Range)?;
        let holders = self.holders.get_or_insert_default();
        let index = holders.binary_search_by(|holder| holder.as_str().cmp(id));
        holders.remove(index.map_err(|_| LockError::NoSuchHolder)?);
        self.semaphore = increment;
        Ok(())
    }

    /// Sets the maximum and returns the previous one. Existing holders keep the lock.
    ///
    /// # Errors
    /// [`LockError::NegativeMaximum`].
    pub fn set_max(&mut self, max: i64) -> Result<i64, LockError> {
        if max < 0 {
            return Err(LockError::NegativeMaximum);
        }
        let increment = max.checked_sub(self.max).ok_or(LockError::Range)?;
        self.semaphore = self.semaphore.checked_add(increment).ok_or(LockError::Range)?;
        Ok(std::mem::replace(&mut self.max, max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: &str = r#"{"semaphore":1,"max":1,"holders":null}"#;

    /// Commands: `lock a`, `unlock a`, `max 3`, `acquire a`.
    fn apply(semaphore: &mut Semaphore, command: &str) -> String {
        let (verb, argument) = command.split_once(' ').unwrap();
        let done = match verb {
            "lock" => semaphore.lock(argument).map(|()| "done".to_owned()),
            "unlock" => semaphore.unlock(argument).map(|()| "done".to_owned()),
            "acquire" => semaphore.acquire(argument).map(|got| format!("{got:?}")),
            _ => semaphore.set_max(argument.parse().unwrap()).map(|old| format!("was {old}")),
        };
        done.unwrap_or_else(|error| error.to_string())
    }

    fn check(before: &str, command: &str, answer: &str, after: &str) {
        let mut semaphore = Semaphore::decode(before).unwrap();
        assert_eq!(apply(&mut semaphore, command), answer, "{before} {command}");
        assert_eq!(semaphore.encode(), after, "{before} {command}");
    }

    #[test]
    fn default_semaphore() {
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
    fn foreign_values() {
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
