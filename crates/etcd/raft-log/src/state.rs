//! The in-memory state of a log: the locations of its entries, a cache of recent ones, and pending writes.
//!
//! Invariant: unflushed entries are cached, so a read never depends on a pending write.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::DiskFile;
use crate::entry::{Bounds, Entry, LogId, Purged, StateKey, Ticket};
use crate::error::{AppendError, Failed};
use crate::limits::{ENTRY_OVERHEAD_BYTES, UNFLUSHED_BYTES_MAX};
use crate::location::{RecordLocation, Segment};
use crate::record::Record;
use crate::sector::{capacity, sector_of};
use crate::segment::Header;

/// A preallocated file that will become a segment.
pub(crate) struct Reserve {
    pub name: String,
    pub file: Arc<dyn DiskFile>,
}

/// Pending bytes for one segment.
pub(crate) struct PendingWrite {
    pub sequence: u64,
    /// In the stream of the segment.
    pub start: u64,
    pub bytes: Vec<u8>,
    pub through: Ticket,
    /// The header, if the segment must be created first.
    pub opening: Option<Header>,
}

/// Where the next record goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WritePosition {
    pub sequence: u64,
    pub offset: u64,
    pub crc: u32,
    pub capacity: u64,
}

pub(crate) struct State {
    pub id: LogId,
    pub segment_bytes: u64,
    pub cache_bytes_max: usize,
    pub end: WritePosition,
    pub pending_writes: VecDeque<PendingWrite>,
    pub unflushed_bytes: usize,
    pub ticket: Ticket,
    pub flushed: Ticket,
    /// The segment and the sector before which nothing is rewritten.
    synced: (u64, u64),
    /// The entries `next - live.len() .. next`.
    live: VecDeque<RecordLocation>,
    /// The next index; any if `None`.
    next: Option<u64>,
    /// The last entries of `live`.
    cache: VecDeque<Entry>,
    cache_bytes: usize,
    pub purged: Option<Purged>,
    pub states: BTreeMap<StateKey, Bytes>,
    /// The segments created by a flush.
    pub segments: BTreeMap<u64, Arc<Segment>>,
    pub reserves: Vec<Reserve>,
    /// After a ticket is flushed, segments below a number may be removed.
    removals: VecDeque<(Ticket, u64)>,
    pub removable_below: u64,
    pub failed: Option<Failed>,
}

impl State {
    pub(crate) fn new(id: LogId, segment_bytes: u64, cache_bytes_max: usize, next: Option<u64>) -> Self {
        Self {
            id,
            segment_bytes,
            cache_bytes_max,
            end: WritePosition { sequence: 0, offset: 0, crc: 0, capacity: 0 },
            pending_writes: VecDeque::new(),
            unflushed_bytes: 0,
            ticket: Ticket(0),
            flushed: Ticket(0),
            synced: (0, 0),
            live: VecDeque::new(),
            next,
            cache: VecDeque::new(),
            cache_bytes: 0,
            purged: None,
            states: BTreeMap::new(),
            segments: BTreeMap::new(),
            reserves: Vec::new(),
            removals: VecDeque::new(),
            removable_below: 0,
            failed: None,
        }
    }

    pub(crate) fn bounds(&self) -> Bounds {
        let purged = self.purged.clone();
        match (self.first_live(), self.next) {
            (Some(first), Some(next)) => Bounds { first: Some(first), last: Some(next - 1), purged },
            _ => Bounds { first: None, last: None, purged },
        }
    }

    pub(crate) fn next(&self) -> Option<u64> {
        self.next
    }

    pub(crate) fn first_live(&self) -> Option<u64> {
        let next = self.next.filter(|_| !self.live.is_empty())?;
        Some(next - self.live.len() as u64)
    }

    pub(crate) fn location(&self, index: u64) -> Option<RecordLocation> {
        let at = index.checked_sub(self.first_live()?)?;
        self.live.get(usize::try_from(at).ok()?).copied()
    }

    pub(crate) fn cached(&self, index: u64) -> Option<&Entry> {
        let first = self.cache.front()?.index;
        self.cache.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }

    /// The first segment that is still needed.
    pub(crate) fn oldest_needed(&self) -> u64 {
        self.live.front().map_or(self.end.sequence, |location| location.segment)
    }

    /// Applies a record. The error is what was expected and what was found; nothing is changed then.
    pub(crate) fn apply(&mut self, location: RecordLocation, record: Record) -> Result<(), (String, String)> {
        match record {
            Record::Entry(entry) => {
                if self.next.is_some_and(|next| next != entry.index) || entry.index == u64::MAX {
                    return Err((format!("entry {:?}", self.next), format!("entry {}", entry.index)));
                }
                self.next = Some(entry.index + 1);
                self.live.push_back(location);
                self.cache_bytes += cost(&entry);
                self.cache.push_back(entry);
                self.evict();
            }
            Record::State(key, value) => {
                self.states.insert(key, value);
            }
            Record::Truncation(from) => self.truncate(from),
            Record::Purge(purged) => {
                if purged.index == u64::MAX {
                    return Err(("a purge point".into(), "the largest index".into()));
                }
                self.purge(purged);
            }
        }
        Ok(())
    }

    fn truncate(&mut self, from: u64) {
        let Some(next) = self.next.filter(|next| *next > from) else { return };
        let dropped = usize::try_from(next - from).unwrap_or(usize::MAX);
        self.live.truncate(self.live.len().saturating_sub(dropped));
        self.next = Some(from);
        while self.cache.back().is_some_and(|entry| entry.index >= from) {
            let entry = self.cache.pop_back();
            self.cache_bytes -= entry.as_ref().map_or(0, cost);
        }
    }

    fn purge(&mut self, purged: Purged) {
        let after = purged.index + 1;
        let first = self.first_live().unwrap_or(after);
        let dropped = usize::try_from(after.saturating_sub(first)).unwrap_or(usize::MAX);
        self.live.drain(..dropped.min(self.live.len()));
        self.next = Some(self.next.map_or(after, |next| next.max(after)));
        while self.cache.front().is_some_and(|entry| entry.index < after) {
            self.forget_first();
        }
        self.purged = Some(purged);
    }

    fn forget_first(&mut self) {
        let entry = self.cache.pop_front();
        self.cache_bytes -= entry.as_ref().map_or(0, cost);
    }

    /// Evicts the oldest cached entries while the cache is too large and they are on disk. Entries in the last sector
    /// stay: the next flush rewrites it, and a concurrent read could see a mixture.
    fn evict(&mut self) {
        while self.cache_bytes > self.cache_bytes_max
            && let Some(location) = self.cache.front().and_then(|entry| self.location(entry.index))
            && (location.segment, sector_of(location.end() - 1).0) < self.synced
        {
            self.forget_first();
        }
    }

    /// Checks whether the records can be appended.
    pub(crate) fn admit(&self, records: &[Record]) -> Result<(), AppendError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone().into());
        }
        let mut bytes = 0;
        let (mut left, whole) = (self.end.capacity - self.end.offset, capacity(self.segment_bytes));
        let opening: usize = self.opening_records().iter().map(Record::length).sum();
        for record in records {
            let length = record.length();
            if length as u64 > left {
                left = whole.saturating_sub(opening as u64);
                bytes += opening;
            }
            if length as u64 > left {
                return Err(AppendError::TooLong { given: length, most: left as usize });
            }
            left -= length as u64;
            bytes += length;
        }
        if self.unflushed_bytes > 0 && self.unflushed_bytes + bytes > UNFLUSHED_BYTES_MAX {
            return Err(AppendError::Backlog { bytes: self.unflushed_bytes, most: UNFLUSHED_BYTES_MAX });
        }
        Ok(())
    }

    /// The records that each new segment repeats, so that earlier segments can be removed.
    fn opening_records(&self) -> Vec<Record> {
        let states = self.states.iter().map(|(key, value)| Record::State(*key, value.clone()));
        states.chain(self.purged.clone().map(Record::Purge)).collect()
    }

    /// Appends an admitted record.
    pub(crate) fn push(&mut self, record: Record) -> Ticket {
        if self.end.offset + record.length() as u64 > self.end.capacity {
            self.open_segment();
        }
        let location = self.write(&record);
        self.ticket.0 += 1;
        if let Some(write) = self.pending_writes.back_mut() {
            write.through = self.ticket;
        }
        let purge = matches!(record, Record::Purge(_));
        let applied = self.apply(location, record);
        debug_assert!(applied.is_ok(), "admitted: {applied:?}");
        if purge {
            self.removals.push_back((self.ticket, self.oldest_needed()));
        }
        self.ticket
    }

    fn open_segment(&mut self) {
        let records = self.opening_records();
        let sequence = self.end.sequence + 1;
        let header = Header {
            id: self.id,
            sequence,
            segment_bytes: self.segment_bytes,
            previous_end: self.end.offset,
            previous_crc: self.end.crc,
            last: self.next.and_then(|next| next.checked_sub(1)),
        };
        self.end = WritePosition { sequence, offset: 0, crc: self.end.crc, capacity: header.capacity() };
        let (bytes, through) = (Vec::new(), self.ticket);
        self.pending_writes.push_back(PendingWrite {
            sequence,
            start: 0,
            bytes,
            through,
            opening: Some(header),
        });
        for record in &records {
            self.write(record);
        }
    }

    /// Adds a record's bytes to the pending writes.
    fn write(&mut self, record: &Record) -> RecordLocation {
        let (sequence, start, seed) = (self.end.sequence, self.end.offset, self.end.crc);
        if self.pending_writes.back().is_none_or(|write| write.sequence != sequence) {
            let (bytes, through) = (Vec::new(), self.ticket);
            self.pending_writes.push_back(PendingWrite { sequence, start, bytes, through, opening: None });
        }
        let length = record.length();
        if let Some(write) = self.pending_writes.back_mut() {
            self.end.crc = record.write(&mut write.bytes, seed);
        }
        self.end.offset += length as u64;
        self.unflushed_bytes += length;
        RecordLocation { segment: sequence, offset: start as u32, length: length as u32, seed }
    }

    /// A pending write is durable.
    pub(crate) fn flushed(&mut self, sequence: u64, end: u64, bytes: usize, through: Ticket) {
        self.unflushed_bytes -= bytes;
        self.flushed = through;
        while let Some((_, below)) = self.removals.pop_front_if(|(ticket, _)| *ticket <= through) {
            self.removable_below = below;
        }
        self.mark_synced(sequence, end);
    }

    /// Everything up to this position is durable.
    pub(crate) fn mark_synced(&mut self, sequence: u64, end: u64) {
        self.synced = (sequence, sector_of(end).0);
        self.evict();
    }

    pub(crate) fn wants_maintenance(&self) -> bool {
        let removable = self.segments.keys().next().is_some_and(|oldest| *oldest < self.removable_below);
        removable || self.reserves.is_empty()
    }
}

fn cost(entry: &Entry) -> usize {
    entry.payload.len() + ENTRY_OVERHEAD_BYTES
}
