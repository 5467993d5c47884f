//! Repairs the end of the last segment after a crash: the torn part of the last flush is zeroed, the rest of it is
//! rewritten. Nothing before that flush is changed.
//!
//! The flush is rewritten even if nothing is torn: after a crash between write and sync, or after a failed sync, the
//! data may be in the page cache only. A crash during the repair looks like a torn flush, so opening can be repeated.

use std::io;

use crate::limits::SECTOR_BYTES;
use crate::location::Segment;
use crate::scan::Tail;
use crate::sector::{FIRST_SECTOR, Sector, file_offset, sector_of};

pub(crate) struct Repaired {
    pub truncated_bytes: u64,
    /// The data of the last sector while it is not full.
    pub tail: Vec<u8>,
}

impl Tail {
    /// The tail of an empty segment.
    pub(crate) const START: Self =
        Self { end: 0, crc: 0, flush: 0, flush_start: FIRST_SECTOR, written: FIRST_SECTOR };
}

pub(crate) fn repair(segment: &Segment, tail: &Tail) -> io::Result<Repaired> {
    let (last, within) = sector_of(tail.end);
    // The sector with the end may belong to an older flush, and is rewritten unchanged.
    let first = tail.flush_start.min(last);
    let written = tail.written.max(first);
    let mut sectors = vec![0; (written - first) as usize * SECTOR_BYTES];
    segment.file.read_at(&mut sectors, file_offset(first))?;
    let mut repaired = Repaired { truncated_bytes: 0, tail: Vec::new() };
    let mut rewritten = Vec::with_capacity(sectors.len());
    for (number, bytes) in (first..).zip(sectors.chunks_exact(SECTOR_BYTES)) {
        let Sector::Data { flush, flush_start, data } = segment.codec.read(number, bytes) else {
            rewritten.resize(rewritten.len() + SECTOR_BYTES, 0);
            continue;
        };
        let kept = match number.cmp(&last) {
            std::cmp::Ordering::Less => data,
            std::cmp::Ordering::Equal => &data[..within.min(data.len())],
            std::cmp::Ordering::Greater => &[],
        };
        repaired.truncated_bytes += (data.len() - kept.len()) as u64;
        if kept.is_empty() {
            rewritten.resize(rewritten.len() + SECTOR_BYTES, 0);
        } else {
            segment.codec.write(&mut rewritten, number, flush, flush_start, kept);
        }
        if number == last {
            repaired.tail = kept.to_vec();
        }
    }
    segment.file.write_at(&rewritten, file_offset(first))?;
    segment.file.sync_data()?;
    Ok(repaired)
}
