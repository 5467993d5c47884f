//! Contents of the store model: keys with expiration, and events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fleet_node::{Change, Precondition, StoreError};
use tokio::time::Instant;

use crate::request_kind::RequestKind;

/// Length of the event history, as in etcd.
pub const HISTORY: usize = 1000;

pub struct Keys {
    pub entries: BTreeMap<String, Entry>,
    pub index: u64,
    /// With their times.
    pub events: VecDeque<(Instant, Change)>,
    pub rng: fastrand::Rng,
    /// Unreachable for all machines.
    pub down: bool,
    /// Percentage of lost responses.
    pub loss_percent: u32,
    /// Writes below this prefix are rejected for lack of permission.
    pub forbidden_prefix: Option<&'static str>,
    /// Writes whose precondition did not hold.
    pub rejected: Vec<String>,
    /// Number of requests by kind.
    pub requests: BTreeMap<RequestKind, u64>,
    /// Keys by time of expiration.
    pub expirations: BTreeSet<(Instant, String)>,
}

pub struct Entry {
    pub value: String,
    pub index: u64,
    pub expires: Option<Instant>,
}

impl Keys {
    pub fn event(&mut self, path: &str, value: Option<&str>) -> u64 {
        self.index += 1;
        let change = Change { index: self.index, path: path.into(), value: value.map(Into::into) };
        self.events.push_back((Instant::now(), change));
        if self.events.len() > HISTORY {
            self.events.pop_front();
        }
        self.index
    }

    pub fn expire(&mut self) {
        let now = Instant::now();
        while self.expirations.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, path)) = self.expirations.pop_first()
        {
            self.entries.remove(&path);
            self.event(&path, None);
        }
    }

    pub fn insert(&mut self, path: String, entry: Entry) {
        self.remove(&path);
        self.expirations.extend(entry.expires.map(|at| (at, path.clone())));
        self.entries.insert(path, entry);
    }

    pub fn remove(&mut self, path: &str) {
        if let Some(at) = self.entries.remove(path).and_then(|entry| entry.expires) {
            self.expirations.remove(&(at, path.to_owned()));
        }
    }

    pub fn check_precondition(&mut self, path: &str, precondition: &Precondition) -> Result<(), StoreError> {
        if self.forbidden_prefix.is_some_and(|prefix| path.starts_with(prefix)) {
            return Err(StoreError::Rejected(format!("{path}: no permission")));
        }
        let entry = self.entries.get(path);
        let is_met = match precondition {
            Precondition::Always => true,
            Precondition::Absent => entry.is_none(),
            Precondition::Present => entry.is_some(),
            Precondition::Value(value) => entry.is_some_and(|entry| entry.value == *value),
            Precondition::Index(index) => entry.is_some_and(|entry| entry.index == *index),
        };
        if is_met {
            return Ok(());
        }
        let why = format!("{path}: {precondition:?}");
        self.rejected.push(why.clone());
        Err(StoreError::Rejected(why))
    }
}
