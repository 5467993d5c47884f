//! Reading entries. All checksums are verified on each read.

use std::ops::Range;
use std::sync::Arc;

use crate::entry::Entry;
use crate::error::{Corruption, ReadError};
use crate::limits::{READ_BYTES, SECTOR_BYTES, SECTOR_DATA_BYTES};
use crate::location::{RecordLocation, Segment};
use crate::log::Log;
use crate::record::Record;
use crate::sector::{Sector, file_offset, sector_of};
use crate::state::State;

/// Adjacent records of one segment, which are read together.
struct Run {
    segment: Arc<Segment>,
    locations: Vec<RecordLocation>,
}

/// Where the requested entries are: first in files, then in memory.
struct Plan {
    runs: Vec<Run>,
    cached: Vec<Entry>,
}

impl Log {
    /// Returns the entries of `range` from its start, up to `bytes` of payload but at least one. Recent entries come
    /// from memory, older ones from the segments.
    pub fn read(&self, range: Range<u64>, bytes: usize) -> Result<Vec<Entry>, ReadError> {
        let plan = plan(&self.inner.state(), range, bytes)?;
        let mut entries = Vec::new();
        for run in &plan.runs {
            run.read(&mut entries)?;
        }
        entries.extend(plan.cached);
        Ok(entries)
    }
}

fn plan(state: &State, range: Range<u64>, bytes: usize) -> Result<Plan, ReadError> {
    let mut plan = Plan { runs: Vec::new(), cached: Vec::new() };
    let after_purged = state.purged.as_ref().map_or(0, |purged| purged.index + 1);
    let first = state.first_live().unwrap_or(after_purged);
    if range.start < first && range.start < range.end {
        return Err(ReadError::Purged { index: range.start, first });
    }
    let mut left = bytes;
    for index in range.clone() {
        let Some(location) = state.location(index) else { break };
        if index > range.start && location.payload() > left {
            break;
        }
        left = left.saturating_sub(location.payload());
        if let Some(entry) = state.cached(index) {
            plan.cached.push(entry.clone());
            continue;
        }
        match plan.runs.last_mut() {
            Some(run) if run.accepts(location) => run.locations.push(location),
            _ => {
                // invariant: entries that are not cached are flushed, and segments with live entries are kept.
                #[allow(clippy::expect_used)]
                let segment = state.segments.get(&location.segment).expect("a live entry's segment is kept");
                plan.runs.push(Run { segment: Arc::clone(segment), locations: vec![location] });
            }
        }
    }
    Ok(plan)
}

impl Run {
    fn read(&self, entries: &mut Vec<Entry>) -> Result<(), ReadError> {
        let (Some(first), Some(last)) = (self.locations.first(), self.locations.last()) else {
            return Ok(());
        };
        let start = u64::from(first.offset);
        let stream = self.stream(start, last.end())?;
        for location in &self.locations {
            let from = (u64::from(location.offset) - start) as usize;
            let bytes = &stream[from..from + location.length as usize];
            let corruption =
                |texts| ReadError::Corrupt(self.segment.corrupt_record(location.offset.into(), texts));
            match Record::read(bytes, location.seed) {
                Ok((Record::Entry(entry), _)) => entries.push(entry),
                Ok(_) => return Err(corruption(("an entry".into(), "another record".into()))),
                Err(texts) => return Err(corruption(texts)),
            }
        }
        Ok(())
    }

    /// The bytes `start..end` of the segment's stream.
    fn stream(&self, start: u64, end: u64) -> Result<Vec<u8>, ReadError> {
        let (first, within) = sector_of(start);
        let (last, _) = sector_of(end - 1);
        let segment = &self.segment;
        let mut sectors = vec![0; (last - first + 1) as usize * SECTOR_BYTES];
        segment
            .file
            .read_at(&mut sectors, file_offset(first))
            .map_err(|source| ReadError::Io { name: segment.name.clone(), source })?;
        let mut stream = Vec::with_capacity((end - start) as usize + SECTOR_DATA_BYTES * 2);
        for (number, bytes) in (first..).zip(sectors.chunks_exact(SECTOR_BYTES)) {
            let offset = file_offset(number);
            let corruption: Corruption = match segment.codec.read(number, bytes) {
                Sector::Data { data, .. } if data.len() == SECTOR_DATA_BYTES || number == last => {
                    stream.extend_from_slice(data);
                    continue;
                }
                Sector::Data { .. } => segment.corrupt(offset, "a full sector", "a partly used one"),
                Sector::Zero => segment.corrupt(offset, "data", "zeros"),
                Sector::Damaged { stored, computed } => segment.damaged(offset, stored, computed),
            };
            return Err(ReadError::Corrupt(corruption));
        }
        stream.drain(..within);
        if (stream.len() as u64) < end - start {
            let corruption = segment.corrupt(file_offset(last), "more data", "too little");
            return Err(ReadError::Corrupt(corruption));
        }
        Ok(stream)
    }

    fn accepts(&self, location: RecordLocation) -> bool {
        let start = self.locations.first().map_or(0, |first| u64::from(first.offset));
        self.segment.header.sequence == location.segment && location.end() - start <= READ_BYTES as u64
    }
}
