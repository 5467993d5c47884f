//! Signatures that the member builds on; the bodies follow.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Range;

use bytes::Bytes;

use crate::disk::Disk;
use crate::entry::{Bounds, Entry, LogId, Purged, StateKey, Ticket};
use crate::error::{AppendError, FlushError, MaintainError, OpenError, ReadError};

pub struct Options {
    pub segment_bytes: u64,
    pub cache_bytes: usize,
    /// The id that a log gets when it is made.
    pub new_id: LogId,
}

/// What was found at open.
pub struct Recovered {
    pub id: LogId,
    pub bounds: Bounds,
    pub states: BTreeMap<StateKey, Bytes>,
}

pub struct Flushed {
    /// All up to here is on disk.
    pub through: Ticket,
    /// [`Log::maintain`] has work.
    pub maintain: bool,
}

pub struct Log<D: Disk>(PhantomData<D>);
pub struct Flusher<D: Disk>(PhantomData<D>);

impl<D: Disk> Log<D> {
    pub fn open(disk: D, options: Options) -> Result<(Self, Flusher<D>, Recovered), OpenError> {
        let (_, _) = (disk, options);
        todo!()
    }
    /// All or none; the first index follows the last one there is.
    pub fn append(&self, entries: &[Entry]) -> Result<Ticket, AppendError> {
        let _ = entries;
        todo!()
    }
    pub fn set_state(&self, key: StateKey, value: &[u8]) -> Result<Ticket, AppendError> {
        let _ = (key, value);
        todo!()
    }
    /// Entries from `index` on, that one too, are dropped.
    pub fn truncate_from(&self, index: u64) -> Result<Ticket, AppendError> {
        let _ = index;
        todo!()
    }
    /// Entries up to `purged.index`, that one too, are gone; it may lie beyond the last one.
    pub fn purge_to(&self, purged: Purged) -> Result<Ticket, AppendError> {
        let _ = purged;
        todo!()
    }
    /// The entries of `range` that there are, from its start; as many as fit `max_bytes`, and at least one.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Entry>, ReadError> {
        let _ = (range, max_bytes);
        todo!()
    }
    pub fn bounds(&self) -> Bounds {
        todo!()
    }
    pub fn maintain(&self) -> Result<(), MaintainError> {
        todo!()
    }
}

impl<D: Disk> Flusher<D> {
    pub fn flush(&mut self) -> Result<Flushed, FlushError> {
        todo!()
    }
}
