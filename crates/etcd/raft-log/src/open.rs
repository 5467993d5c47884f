//! Opening a log: all segments are read and verified before a torn tail is truncated. Damage is never taken for a
//! torn tail.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::disk::Disk;
use crate::entry::{Bounds, Entry, LogId, StateKey};
use crate::error::{Corruption, OpenError, ReadError};
use crate::flusher::Flusher;
use crate::inner::Inner;
use crate::limits::{CACHE_BYTES, SECTOR_BYTES, SEGMENT_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::location::Segment;
use crate::log::Log;
use crate::repair;
use crate::scan::{Extent, ScanError, Tail, scan};
use crate::segment::{Header, HeaderError, Kind, VERSION, is_segment_size, segment_name, unfinished_name};
use crate::state::{Reserve, State, WritePosition};

/// Parameters of [`Log::open`](crate::Log::open).
#[derive(Clone, Debug)]
pub struct Options {
    /// Of new segments; existing ones keep their size.
    pub segment_bytes: u64,
    /// The size of the cache of recent entries.
    pub cache_bytes: usize,
    /// The id of a new log; an existing one keeps its id.
    pub new_id: LogId,
}

impl Options {
    /// The sizes of production.
    pub fn new(new_id: LogId) -> Self {
        Self { segment_bytes: SEGMENT_BYTES, cache_bytes: CACHE_BYTES, new_id }
    }
}

/// What opening the log has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The last version of each state.
    pub states: BTreeMap<StateKey, Bytes>,
    /// Bytes of an incomplete, never acknowledged write that were removed.
    pub truncated_bytes: u64,
}

/// The directory's files by kind.
struct Listing {
    segments: Vec<u64>,
    reserves: Vec<(u64, String)>,
    unfinished: Vec<String>,
}

impl Log {
    /// Locks the directory, reads all segments, truncates a torn tail and makes what it has read durable.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Self, Flusher, Recovered), OpenError> {
        if !is_segment_size(options.segment_bytes) {
            return Err(OpenError::Options(format!(
                "segments of {} bytes: expected {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}, in sectors of \
                 {SECTOR_BYTES}",
                options.segment_bytes
            )));
        }
        let lock = disk.lock().map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => OpenError::Locked { folder: disk.display_path() },
            _ => OpenError::Io { doing: "locking", name: disk.display_path(), source },
        })?;
        let listing = list(&*disk)?;
        let segments = open_segments(&*disk, &listing.segments)?;
        let (mut state, tail) = recover(&segments, &options, Extent::Open)?;
        // Everything is verified: from here on the directory is changed.
        let mut reserve_number = clean_up(&*disk, listing, &mut state)?;
        let (current, tail) = match (segments.into_iter().last(), tail) {
            (Some(segment), Some(tail)) => (segment, tail),
            _ => (create_first_segment(&*disk, &mut state, &mut reserve_number)?, Tail::START),
        };
        let repaired = repair::repair(&current, &tail).map_err(|source| OpenError::Io {
            doing: "repairing",
            name: current.name.clone(),
            source,
        })?;
        disk.sync_folder().map_err(|source| io_error("syncing", &disk.display_path(), source))?;
        state.segments.insert(current.header.sequence, Arc::clone(&current));
        state.mark_synced(current.header.sequence, tail.end);
        state.removable_below = state.oldest_needed();
        let recovered = Recovered { states: state.states.clone(), truncated_bytes: repaired.truncated_bytes };
        let (state, reserve_number) = (Mutex::new(state), Mutex::new(reserve_number));
        let inner = Arc::new(Inner { disk, _lock: Some(lock), state, reserve_number });
        let flusher = Flusher::new(Arc::clone(&inner), current, tail.flush, repaired.tail);
        Ok((Self { inner }, flusher, recovered))
    }
}

/// A log opened for reading, which another process may be writing.
pub struct ReadOnlyLog {
    log: Log,
    in_use: bool,
}

impl ReadOnlyLog {
    /// Reads and verifies all segments. If the log is not in use this is like [`Log::open`], and the log stays locked
    /// until this is dropped. Otherwise everything flushed before the call is included, and an error may only mean
    /// that a segment was being written or removed: retry.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let lock = match disk.lock() {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(source) => return Err(io_error("locking", &disk.display_path(), source)),
        };
        let in_use = lock.is_none();
        let options = Options::new(LogId([0; 16]));
        let segments = open_segments(&*disk, &list(&*disk)?.segments)?;
        let last = if in_use { Extent::Growing } else { Extent::Open };
        let (state, _) = recover(&segments, &options, last)?;
        let (state, reserve_number) = (Mutex::new(state), Mutex::new(0));
        let inner = Arc::new(Inner { disk, _lock: lock, state, reserve_number });
        Ok(Self { log: Log { inner }, in_use })
    }

    /// Whether another process has the log open.
    pub fn in_use(&self) -> bool {
        self.in_use
    }

    /// As found when the log was opened; a writer may have appended since.
    pub fn bounds(&self) -> Bounds {
        self.log.bounds()
    }

    /// As [`Log::read`].
    pub fn read(&self, range: Range<u64>, bytes: usize) -> Result<Vec<Entry>, ReadError> {
        self.log.read(range, bytes)
    }
}

fn io_error(doing: &'static str, name: &str, source: io::Error) -> OpenError {
    OpenError::Io { doing, name: name.to_owned(), source }
}

fn list(disk: &dyn Disk) -> Result<Listing, OpenError> {
    let mut listing = Listing { segments: Vec::new(), reserves: Vec::new(), unfinished: Vec::new() };
    for name in disk.list().map_err(|source| io_error("listing", &disk.display_path(), source))? {
        match Kind::of(&name) {
            Kind::Segment(sequence) => listing.segments.push(sequence),
            Kind::Reserve(number) => listing.reserves.push((number, name)),
            Kind::Unfinished => listing.unfinished.push(name),
            Kind::Other => {}
        }
    }
    listing.segments.sort_unstable();
    Ok(listing)
}

fn open_segments(disk: &dyn Disk, sequences: &[u64]) -> Result<Vec<Arc<Segment>>, OpenError> {
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    for sequence in sequences {
        let name = segment_name(*sequence);
        let before = segments.last().map(|segment| &segment.header);
        if let Some(before) = before
            && before.sequence + 1 != *sequence
        {
            let expected = segment_name(before.sequence + 1);
            return Err(OpenError::Missing { expected, found: name });
        }
        let segment = open_segment(disk, *sequence, name)?;
        if let Some(before) = before
            && before.id != segment.header.id
        {
            let (file, found) = (segment.name, segment.header.id);
            return Err(OpenError::Foreign { file, found, expected: before.id });
        }
        segments.push(Arc::new(segment));
    }
    Ok(segments)
}

fn open_segment(disk: &dyn Disk, sequence: u64, name: String) -> Result<Segment, OpenError> {
    let file = disk.open(&name).map_err(|source| io_error("opening", &name, source))?;
    let size = file.size().map_err(|source| io_error("asking the size of", &name, source))?;
    let corrupt = |offset, expected, found| {
        OpenError::Corrupt(Corruption { file: name.clone(), offset, expected, found })
    };
    if size < SECTOR_BYTES as u64 {
        return Err(corrupt(size, "a header".into(), "the end of the file".into()));
    }
    let mut bytes = [0; SECTOR_BYTES];
    file.read_at(&mut bytes, 0).map_err(|source| io_error("reading", &name, source))?;
    let header = Header::read(&bytes, sequence, size).map_err(|error| match error {
        HeaderError::UnknownVersion(found) => {
            OpenError::UnknownVersion { file: name.clone(), found, known: VERSION }
        }
        HeaderError::Damaged { offset, expected, found } => corrupt(offset, expected, found),
    })?;
    Ok(Segment::new(file.into(), name, header))
}

/// Reads the segments; returns their state and the end of the last one.
fn recover(
    segments: &[Arc<Segment>],
    options: &Options,
    last: Extent,
) -> Result<(State, Option<Tail>), OpenError> {
    let first = segments.first().map(|segment| &segment.header);
    let id = first.map_or(options.new_id, |header| header.id);
    let next = first.and_then(|header| header.last).map(|last| last + 1);
    let mut state = State::new(id, options.segment_bytes, options.cache_bytes, next);
    let mut tail = None;
    for (at, segment) in segments.iter().enumerate() {
        let extent = match segments.get(at + 1) {
            Some(after) => Extent::Sealed { end: after.header.previous_end, crc: after.header.previous_crc },
            None => last,
        };
        let found = scan(segment, extent, &mut |location, record| {
            // Only the last sector will be rewritten: earlier entries need not be cached.
            state.mark_synced(location.segment, location.offset.into());
            state.apply(location, record)
        });
        let found = found.map_err(|error| match error {
            ScanError::Io(source) => io_error("reading", &segment.name, source),
            ScanError::Corrupt(corruption) => OpenError::Corrupt(corruption),
        })?;
        let (sequence, capacity) = (segment.header.sequence, segment.header.capacity());
        state.end = WritePosition { sequence, offset: found.end, crc: found.crc, capacity };
        state.segments.insert(sequence, Arc::clone(segment));
        tail = Some(found);
    }
    if let Some(first) = segments.first() {
        check_start(&state, first)?;
    }
    Ok((state, tail))
}

/// Segments before the first one may only have held purged entries.
fn check_start(state: &State, first: &Segment) -> Result<(), OpenError> {
    let begins_at = state.first_live().or(state.next()).unwrap_or(0);
    let needed = state.purged.as_ref().map_or(0, |purged| purged.index.saturating_add(1));
    if first.header.sequence > 1 && begins_at > needed {
        let expected = format!("a segment with entry {needed}");
        return Err(OpenError::Missing { expected, found: first.name.clone() });
    }
    Ok(())
}

/// Removes incomplete files and keeps reserves of the right size. Returns the next reserve's number.
fn clean_up(disk: &dyn Disk, listing: Listing, state: &mut State) -> Result<u64, OpenError> {
    for name in listing.unfinished {
        disk.remove(&name).map_err(|source| io_error("removing", &name, source))?;
    }
    let mut next = 0;
    for (number, name) in listing.reserves {
        let file = disk.open(&name).map_err(|source| io_error("opening", &name, source))?;
        let size = file.size().map_err(|source| io_error("asking the size of", &name, source))?;
        if size == state.segment_bytes && number < u64::MAX {
            state.reserves.push(Reserve { name, file: file.into() });
            next = next.max(number + 1);
        } else {
            disk.remove(&name).map_err(|source| io_error("removing", &name, source))?;
        }
    }
    Ok(next)
}

/// Creates the first segment of a new log, which is complete before it gets its name.
fn create_first_segment(
    disk: &dyn Disk,
    state: &mut State,
    reserve_number: &mut u64,
) -> Result<Arc<Segment>, OpenError> {
    let name = segment_name(1);
    let header = Header {
        id: state.id,
        sequence: 1,
        segment_bytes: state.segment_bytes,
        previous_end: 0,
        previous_crc: 0,
        last: None,
    };
    let (file, from) = match state.reserves.pop() {
        Some(reserve) => (reserve.file, reserve.name),
        None => {
            let from = unfinished_name(*reserve_number);
            *reserve_number += 1;
            let made = disk.create(&from, header.segment_bytes);
            (made.map_err(|source| io_error("making", &from, source))?.into(), from)
        }
    };
    let written = file.write_at(&header.write(), 0).and_then(|()| file.sync_data());
    written.and_then(|()| disk.rename(&from, &name)).map_err(|source| io_error("making", &name, source))?;
    state.end = WritePosition { sequence: 1, offset: 0, crc: 0, capacity: header.capacity() };
    Ok(Arc::new(Segment::new(file, name, header)))
}
