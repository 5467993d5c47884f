//! Flushing pending writes. A ticket is reported only after its data is synced. A failed sync is permanent: the
//! kernel may have dropped the data and report success for the next sync.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::entry::Ticket;
use crate::error::{Failed, FlushError, MaintainError, is_full};
use crate::inner::Inner;
use crate::limits::SECTOR_DATA_BYTES;
use crate::location::Segment;
use crate::reserve;
use crate::sector::{file_offset, sector_of};
use crate::segment::segment_name;
use crate::state::{PendingWrite, Reserve};

/// The only writer of a log.
pub struct Flusher {
    inner: Arc<Inner>,
    current: Arc<Segment>,
    /// The number of the last flush in the current segment.
    flush: u32,
    /// The data of the last sector while it is not full; the next flush rewrites it.
    tail: Vec<u8>,
    /// Writes that were taken but have failed for lack of space.
    queue: VecDeque<PendingWrite>,
    /// Taken for a segment that could not be created yet.
    reserve: Option<Reserve>,
    /// A buffer for sectors, kept to reuse its memory.
    sectors: Vec<u8>,
}

/// Result of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// Everything up to this ticket is durable.
    pub through: Ticket,
    /// Whether [`crate::Log::maintain`] has work to do.
    pub maintain: bool,
}

impl Flusher {
    pub(crate) fn new(inner: Arc<Inner>, current: Arc<Segment>, flush: u32, tail: Vec<u8>) -> Self {
        let (queue, sectors) = (VecDeque::new(), Vec::new());
        Self { inner, current, flush, tail, queue, reserve: None, sectors }
    }

    /// Writes and syncs everything appended so far; returns immediately if there is nothing new. After `Full` the
    /// remaining writes are retried by the next flush.
    pub fn flush(&mut self) -> Result<Flushed, FlushError> {
        {
            let mut state = self.inner.state();
            if let Some(failed) = &state.failed {
                return Err(failed.clone().into());
            }
            self.queue.append(&mut state.pending_writes);
        }
        while let Some(mut write) = self.queue.pop_front() {
            if let Err(error) = self.write(&mut write) {
                self.queue.push_front(write);
                if let FlushError::Failed(failed) = &error {
                    self.inner.state().failed = Some(failed.clone());
                }
                return Err(error);
            }
        }
        let state = self.inner.state();
        Ok(Flushed { through: state.flushed, maintain: state.wants_maintenance() })
    }

    fn write(&mut self, write: &mut PendingWrite) -> Result<(), FlushError> {
        self.open_segment(write)?;
        let (first, within) = sector_of(write.start);
        debug_assert_eq!(within, self.tail.len());
        let flush = self.flush + 1;
        self.sectors.clear();
        let (head, rest) = write.bytes.split_at(write.bytes.len().min(SECTOR_DATA_BYTES - within));
        let mut data = self.tail.clone();
        data.extend_from_slice(head);
        let mut number = first;
        let mut last = data.as_slice();
        self.current.codec.write(&mut self.sectors, number, flush, first as u32, last);
        for piece in rest.chunks(SECTOR_DATA_BYTES) {
            number += 1;
            last = piece;
            self.current.codec.write(&mut self.sectors, number, flush, first as u32, last);
        }
        let name = &self.current.name;
        self.current
            .file
            .write_at(&self.sectors, file_offset(first))
            .map_err(|source| write_error("writing", name, source))?;
        self.current.file.sync_data().map_err(|source| failed("syncing", name, source))?;
        self.tail = if last.len() < SECTOR_DATA_BYTES { last.to_vec() } else { Vec::new() };
        self.flush = flush;
        let (end, bytes) = (write.start + write.bytes.len() as u64, write.bytes.len());
        let mut state = self.inner.state();
        let current = &self.current;
        state.segments.entry(write.sequence).or_insert_with(|| Arc::clone(current));
        state.flushed(write.sequence, end, bytes, write.through);
        Ok(())
    }

    /// Turns a reserve into the segment that a write begins. Everything before it is durable.
    fn open_segment(&mut self, write: &mut PendingWrite) -> Result<(), FlushError> {
        let Some(header) = &write.opening else { return Ok(()) };
        let reserve = match self.reserve.take() {
            Some(reserve) => reserve,
            None => reserve::take(&self.inner).map_err(reserve_error)?,
        };
        let reserve = self.reserve.insert(reserve);
        let name = segment_name(header.sequence);
        let file = Arc::clone(&reserve.file);
        file.write_at(&header.write(), 0).map_err(|source| write_error("writing", &reserve.name, source))?;
        file.sync_data().map_err(|source| failed("syncing", &reserve.name, source))?;
        let disk = &self.inner.disk;
        disk.rename(&reserve.name, &name).map_err(|source| write_error("naming", &name, source))?;
        disk.sync_folder().map_err(|source| failed("syncing the folder of", &name, source))?;
        self.current = Arc::new(Segment::new(file, name, header.clone()));
        self.flush = 0;
        self.tail.clear();
        (write.opening, self.reserve) = (None, None);
        Ok(())
    }
}

fn reserve_error(error: MaintainError) -> FlushError {
    match error {
        MaintainError::Full { source } => FlushError::Full { name: "the next segment".to_owned(), source },
        MaintainError::Io { doing, name, source } => failed(doing, &name, source),
        MaintainError::Failed(failed) => failed.into(),
    }
}

/// The write has not taken effect yet: it can be retried when there is space.
fn write_error(doing: &'static str, name: &str, source: io::Error) -> FlushError {
    if is_full(&source) {
        return FlushError::Full { name: name.to_owned(), source };
    }
    failed(doing, name, source)
}

fn failed(doing: &'static str, name: &str, source: io::Error) -> FlushError {
    Failed { doing, name: name.to_owned(), source: Arc::new(source) }.into()
}
