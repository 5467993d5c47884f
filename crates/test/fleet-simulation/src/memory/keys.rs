//! What the model of the store has: keys that end, and events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fleet_node::{Change, Only, StoreError};
use tokio::time::Instant;

use crate::about::About;

/// Events that are remembered, as etcd does.
pub const HISTORY: usize = 1000;

pub struct Keys {
    pub entries: BTreeMap<String, Entry>,
    pub index: u64,
    pub events: VecDeque<Change>,
    pub chance: fastrand::Rng,
    /// Nobody reaches it.
    pub down: bool,
    /// How many of a hundred answers are lost.
    pub lossy: u32,
    /// Keys that begin so are not written: their users lack the permission.
    pub forbidden: Option<&'static str>,
    /// Writes that were refused because of what they compare.
    pub refused: Vec<String>,
    /// By what they are about.
    pub requests: BTreeMap<About, u64>,
    /// The keys that expire, in that order.
    pub ends: BTreeSet<(Instant, String)>,
}

pub struct Entry {
    pub value: String,
    pub index: u64,
    pub expires: Option<Instant>,
}

impl Keys {
    pub fn event(&mut self, path: &str, value: Option<&str>) -> u64 {
        self.index += 1;
        self.events.push_back(Change { index: self.index, path: path.into(), value: value.map(Into::into) });
        if self.events.len() > HISTORY {
            self.events.pop_front();
        }
        self.index
    }

    pub fn expire(&mut self) {
        let now = Instant::now();
        while self.ends.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, path)) = self.ends.pop_first()
        {
            self.entries.remove(&path);
            self.event(&path, None);
        }
    }

    pub fn insert(&mut self, path: String, entry: Entry) {
        self.remove(&path);
        self.ends.extend(entry.expires.map(|at| (at, path.clone())));
        self.entries.insert(path, entry);
    }

    pub fn remove(&mut self, path: &str) {
        if let Some(at) = self.entries.remove(path).and_then(|entry| entry.expires) {
            self.ends.remove(&(at, path.to_owned()));
        }
    }

    pub fn holds(&mut self, path: &str, only: &Only) -> Result<(), StoreError> {
        if self.forbidden.is_some_and(|prefix| path.starts_with(prefix)) {
            return Err(StoreError::Refused(format!("{path}: no permission")));
        }
        let entry = self.entries.get(path);
        let fine = match only {
            Only::Always => true,
            Only::Absent => entry.is_none(),
            Only::Present => entry.is_some(),
            Only::Value(value) => entry.is_some_and(|entry| entry.value == *value),
            Only::Index(index) => entry.is_some_and(|entry| entry.index == *index),
        };
        if fine {
            return Ok(());
        }
        let why = format!("{path}: {only:?}");
        self.refused.push(why.clone());
        Err(StoreError::Refused(why))
    }
}
