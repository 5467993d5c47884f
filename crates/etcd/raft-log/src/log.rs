//! The handle of a log for any thread: append, read, inspect. It never waits for a flush.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::entry::{Bounds, Entry, Purged, StateKey, Ticket};
use crate::error::{AppendError, MaintainError};
use crate::inner::Inner;
use crate::limits::{PAYLOAD_BYTES_MAX, STATE_BYTES_MAX};
use crate::record::Record;
use crate::reserve;
use crate::state::State;

/// A handle; clones share the log.
#[derive(Clone)]
pub struct Log {
    pub(crate) inner: Arc<Inner>,
}

impl Log {
    /// Appends entries to memory, all or none. They must follow the last entry or the purge point; a new log starts
    /// at any index. They are readable immediately, and durable when a flush reports the ticket.
    ///
    /// It never waits for the disk: if a segment is full, the next flush begins another.
    pub fn append(&self, entries: impl IntoIterator<Item = Entry>) -> Result<Ticket, AppendError> {
        let records: Vec<_> = entries.into_iter().map(Record::Entry).collect();
        self.push(records, |state, records| {
            let mut expected = state.next();
            for record in records {
                let Record::Entry(entry) = record else { continue };
                check_length(entry.payload.len(), PAYLOAD_BYTES_MAX)?;
                let next = entry.index.checked_add(1);
                if expected.is_some_and(|expected| expected != entry.index) || next.is_none() {
                    let expected = expected.unwrap_or(0);
                    return Err(AppendError::Gap { given: entry.index, expected });
                }
                expected = next;
            }
            Ok(Change::Needed)
        })
    }

    /// Sets a state. It is logged like an entry, so one flush covers both.
    pub fn set_state(&self, key: StateKey, value: Bytes) -> Result<Ticket, AppendError> {
        check_length(value.len(), STATE_BYTES_MAX)?;
        self.push(vec![Record::State(key, value)], |_, _| Ok(Change::Needed))
    }

    /// Removes the entries from `index` on, inclusive.
    pub fn truncate_from(&self, index: u64) -> Result<Ticket, AppendError> {
        self.push(vec![Record::Truncation(index)], |state, _| match &state.purged {
            Some(purged) if index <= purged.index => Err(AppendError::Purged { index, purged: purged.index }),
            _ if state.next().is_none_or(|next| next <= index) => Ok(Change::None),
            _ => Ok(Change::Needed),
        })
    }

    /// Removes the entries up to and including `purged.index`, which may be beyond the last one; the log then
    /// continues after it. [`Log::maintain`] frees the space after a flush, in whole segments.
    pub fn purge_to(&self, purged: Purged) -> Result<Ticket, AppendError> {
        check_length(purged.note.len(), STATE_BYTES_MAX)?;
        let index = purged.index;
        if index == u64::MAX {
            return Err(AppendError::Gap { given: index, expected: index - 1 });
        }
        self.push(vec![Record::Purge(purged)], |state, _| match &state.purged {
            Some(known) if index < known.index => Err(AppendError::Purged { index, purged: known.index }),
            Some(known) if index == known.index => Ok(Change::None),
            _ => Ok(Change::Needed),
        })
    }

    /// Removes purged segments, and allocates the next one if there is no reserve. Waits for the disk, but does not
    /// block other threads.
    pub fn maintain(&self) -> Result<(), MaintainError> {
        reserve::remove_purged(&self.inner)?;
        reserve::ensure(&self.inner)
    }

    /// The range of readable entries, flushed or not.
    pub fn bounds(&self) -> Bounds {
        self.inner.state().bounds()
    }

    /// The current states, flushed or not.
    pub fn states(&self) -> BTreeMap<StateKey, Bytes> {
        self.inner.state().states.clone()
    }

    /// Everything up to this ticket is durable.
    pub fn flushed(&self) -> Ticket {
        self.inner.state().flushed
    }

    fn push(
        &self,
        records: Vec<Record>,
        check: impl Fn(&State, &[Record]) -> Result<Change, AppendError>,
    ) -> Result<Ticket, AppendError> {
        let mut state = self.inner.state();
        if check(&state, &records)? == Change::None {
            return Ok(state.ticket);
        }
        state.admit(&records)?;
        let ticket = state.ticket;
        Ok(records.into_iter().fold(ticket, |_, record| state.push(record)))
    }
}

#[derive(PartialEq, Eq)]
enum Change {
    Needed,
    None,
}

fn check_length(given: usize, most: usize) -> Result<(), AppendError> {
    if given > most { Err(AppendError::TooLong { given, most }) } else { Ok(()) }
}
