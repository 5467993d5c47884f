//! The last events of the store, for watches with a past index.
//!
//! Every index has a slot, also those without an event (refreshes, members, users), so that an index is found by
//! arithmetic.

use std::collections::VecDeque;
use std::sync::Arc;

use etcd_api::{ApiError, ErrorCode, Event, Key};

use crate::limits::HISTORY_EVENTS;
use crate::watch::matches_event;

/// `None` if the change is not an event.
pub type HistoryEntry = Option<Arc<Event>>;

#[derive(Debug)]
pub struct History {
    /// Index of the oldest slot, or the next index if there is none.
    first: u64,
    slots: VecDeque<HistoryEntry>,
    /// The saved range of the last checkpoint, end exclusive.
    saved: (u64, u64),
}

impl History {
    /// An empty history after `index`.
    pub fn after(index: u64) -> Self {
        Self { first: index + 1, slots: VecDeque::new(), saved: (index + 1, index + 1) }
    }

    /// The next index.
    pub fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Adds the change of the next index.
    pub fn push(&mut self, entry: HistoryEntry) {
        self.slots.push_back(entry);
        if self.slots.len() > HISTORY_EVENTS {
            self.slots.pop_front();
            self.first += 1;
        }
    }

    /// The first event at or after `since` that a watch of `key` receives.
    pub fn scan(&self, key: &Key, recursive: bool, since: u64) -> Result<HistoryEntry, ApiError> {
        if since < self.first {
            let cause = format!("the requested history has been cleared [{}/{since}]", self.first);
            return Err(ApiError::new(ErrorCode::EventIndexCleared, cause, self.next() - 1));
        }
        let skip = usize::try_from(since - self.first).unwrap_or(usize::MAX).min(self.slots.len());
        let mut events = self.slots.range(skip..).flatten();
        Ok(events.find(|event| matches_event(event, key, recursive)).cloned())
    }

    /// The changes since the last checkpoint: new slots, and the indexes of removed ones.
    pub fn take_changed(&mut self) -> (Vec<(u64, HistoryEntry)>, Vec<u64>) {
        let (saved_first, saved_next) = self.saved;
        let removed = (saved_first..self.first.min(saved_next)).collect();
        let skip = saved_next.saturating_sub(self.first);
        let new = self.all().skip(usize::try_from(skip).unwrap_or(usize::MAX)).collect();
        self.saved = (self.first, self.next());
        (new, removed)
    }

    /// All slots with their indexes.
    pub fn all(&self) -> impl Iterator<Item = (u64, HistoryEntry)> {
        (self.first..).zip(self.slots.iter().cloned())
    }

    /// Rebuilds the history from a checkpoint; `None` if an index is missing in the middle or at the end.
    pub fn restore(index: u64, slots: impl IntoIterator<Item = (u64, HistoryEntry)>) -> Option<Self> {
        let mut slots = slots.into_iter().peekable();
        let first = slots.peek().map_or(index + 1, |(first, _)| *first);
        let mut history = Self { first, slots: VecDeque::new(), saved: (first, index + 1) };
        for (at, entry) in slots {
            if at != history.next() || history.slots.len() == HISTORY_EVENTS {
                return None;
            }
            history.slots.push_back(entry);
        }
        (history.next() == index + 1).then_some(history)
    }
}
