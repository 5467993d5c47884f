//! Reads a segment at open: all records, and where the log ends. Damage is never taken for the end.
//!
//! All sectors of the last segment are checked. The stream ends at the first hole: a sector that is zero or partly
//! used. Sectors past the hole are a torn tail only if they belong to one flush that began at the hole or before it:
//! then the hole lies in this flush, which was the last one and never acknowledged. Otherwise acknowledged data is
//! missing.

use std::io;

use crate::error::Corruption;
use crate::limits::{READ_BYTES, SECTOR_BYTES, SECTOR_DATA_BYTES};
use crate::location::{RecordLocation, Segment};
use crate::record::{Record, length_at};
use crate::sector::{FIRST_SECTOR, Sector, file_offset, sector_of};

#[derive(Debug)]
pub(crate) enum ScanError {
    Io(io::Error),
    Corrupt(Corruption),
}

impl From<Corruption> for ScanError {
    fn from(corruption: Corruption) -> Self {
        Self::Corrupt(corruption)
    }
}

/// How far a segment must extend.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// The header of the next segment gives the end and the last CRC.
    Sealed { end: u64, crc: u32 },
    /// The last segment.
    Open,
    /// The last segment of a log that is being written. Sectors past the first hole may have been written during the
    /// read and are ignored.
    Growing,
}

impl Extent {
    fn is_growing(self) -> bool {
        matches!(self, Self::Growing)
    }
}

/// The end of a segment's records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    /// In the stream, after the last complete record.
    pub end: u64,
    /// The CRC of that record.
    pub crc: u32,
    /// The newest flush; 0 if there is none.
    pub flush: u32,
    /// The first sector written by that flush.
    pub flush_start: u64,
    /// The sector after the last one that is not zero.
    pub written: u64,
}

/// Receives the records. The error is what was expected and what was found.
pub(crate) type Visit<'a> = dyn FnMut(RecordLocation, Record) -> Result<(), (String, String)> + 'a;

struct Scan<'a> {
    segment: &'a Segment,
    extent: Extent,
    /// The part of the stream, from `base` on, that is not parsed yet.
    stream: Vec<u8>,
    base: u64,
    crc: u32,
    /// Of the last sector before the hole.
    flush: u32,
    flush_start: u32,
    /// The sector where the stream ends, and whether it is partly used.
    hole: Option<(u64, bool)>,
    /// The flush of the sectors past the hole.
    past_hole: Option<(u32, u32)>,
    written: u64,
}

pub(crate) fn scan(segment: &Segment, extent: Extent, visit: &mut Visit<'_>) -> Result<Tail, ScanError> {
    let mut scan = Scan {
        segment,
        extent,
        stream: Vec::new(),
        base: 0,
        crc: segment.header.previous_crc,
        flush: 0,
        flush_start: FIRST_SECTOR as u32,
        hole: None,
        past_hole: None,
        written: FIRST_SECTOR,
    };
    let capacity = segment.header.capacity();
    let sectors = match extent {
        Extent::Sealed { end, .. } if end > capacity => {
            let found = format!("an end at {end}, as the next segment says");
            return Err(segment.corrupt(0, format!("a stream of at most {capacity} bytes"), found).into());
        }
        Extent::Open | Extent::Growing => segment.header.segment_bytes / SECTOR_BYTES as u64,
        Extent::Sealed { end, .. } => {
            let (sector, within) = sector_of(end);
            sector + u64::from(within > 0)
        }
    };
    let mut number = FIRST_SECTOR;
    let mut buffer = vec![0; READ_BYTES.min(file_offset(sectors) as usize)];
    while number < sectors {
        let count = (sectors - number).min((READ_BYTES / SECTOR_BYTES) as u64);
        let bytes = &mut buffer[..count as usize * SECTOR_BYTES];
        segment.file.read_at(bytes, file_offset(number)).map_err(ScanError::Io)?;
        for sector in bytes.chunks_exact(SECTOR_BYTES) {
            scan.push_sector(number, segment.codec.read(number, sector))?;
            number += 1;
            if extent.is_growing() && scan.hole.is_some() {
                number = sectors;
                break;
            }
        }
        scan.parse(visit)?;
    }
    Ok(scan.finish()?)
}

impl Scan<'_> {
    fn push_sector(&mut self, number: u64, sector: Sector<'_>) -> Result<(), Corruption> {
        let offset = file_offset(number);
        match (sector, self.hole) {
            (Sector::Damaged { stored, computed }, _) => {
                return Err(self.segment.damaged(offset, stored, computed));
            }
            (Sector::Zero, None) => self.hole = Some((number, false)),
            (Sector::Zero, Some(_)) => {}
            (Sector::Data { flush, flush_start, data }, None) => {
                let follows = if flush == self.flush {
                    flush_start == self.flush_start
                } else {
                    flush > self.flush && u64::from(flush_start) == number
                };
                if !follows {
                    let expected =
                        format!("flush {} from sector {}, or a new one", self.flush, self.flush_start);
                    let found = format!("flush {flush} from sector {flush_start}");
                    return Err(self.segment.corrupt(offset, expected, found));
                }
                (self.flush, self.flush_start) = (flush, flush_start);
                self.stream.extend_from_slice(data);
                if data.len() < SECTOR_DATA_BYTES {
                    self.hole = Some((number, true));
                }
                self.written = number + 1;
            }
            (Sector::Data { flush, flush_start, .. }, Some((hole, _))) => {
                self.push_past_hole(number, hole, flush, flush_start)?;
            }
        }
        Ok(())
    }

    /// Handles a written sector past the hole.
    fn push_past_hole(
        &mut self,
        number: u64,
        hole: u64,
        flush: u32,
        flush_start: u32,
    ) -> Result<(), Corruption> {
        // The header comes before the first sector and is not written by a flush.
        let torn = (FIRST_SECTOR..=hole).contains(&u64::from(flush_start))
            && self.past_hole.is_none_or(|past_hole| past_hole == (flush, flush_start))
            && (flush > self.flush || (flush, flush_start) == (self.flush, self.flush_start));
        if !torn {
            let expected = format!("the data before flush {flush}, which has sector {number}");
            return Err(self.segment.corrupt(file_offset(hole), expected, "a hole"));
        }
        self.past_hole = Some((flush, flush_start));
        self.written = number + 1;
        Ok(())
    }

    /// Passes on all complete records.
    fn parse(&mut self, visit: &mut Visit<'_>) -> Result<(), Corruption> {
        let mut start = 0;
        while let Some(length) = length_at(&self.stream[start..]) {
            let offset = self.base + start as u64;
            let left = self.segment.header.capacity() - offset;
            if length as u64 > left {
                let texts = (format!("a record of at most {left} bytes"), format!("one of {length}"));
                return Err(self.segment.corrupt_record(offset, texts));
            }
            let Some(bytes) = self.stream.get(start..start + length) else { break };
            let (record, crc) =
                Record::read(bytes, self.crc).map_err(|texts| self.segment.corrupt_record(offset, texts))?;
            let location = RecordLocation {
                segment: self.segment.header.sequence,
                offset: offset as u32,
                length: length as u32,
                seed: self.crc,
            };
            visit(location, record).map_err(|texts| self.segment.corrupt_record(offset, texts))?;
            self.crc = crc;
            start += length;
        }
        self.stream.drain(..start);
        self.base += start as u64;
        Ok(())
    }

    fn finish(self) -> Result<Tail, Corruption> {
        if let Extent::Sealed { end, crc } = self.extent
            && (self.base, self.crc) != (end, crc)
        {
            if let Some((hole, _)) = self.hole.filter(|(hole, partly)| !partly || *hole < sector_of(end).0) {
                let expected = format!("records to {end} of the stream, as the next segment says");
                return Err(self.segment.corrupt(file_offset(hole), expected, "a hole"));
            }
            let texts = (
                format!("records to {end} with CRC {crc:08x}, as the next segment says"),
                format!("{} whole ones' bytes with CRC {:08x}", self.base, self.crc),
            );
            return Err(self.segment.corrupt_record(self.base, texts));
        }
        let (flush, flush_start) = self.past_hole.unwrap_or((self.flush, self.flush_start));
        // A record that ends in a hole belongs to the last flush, and a partly used sector ends with a record.
        let torn_record = flush == self.flush && matches!(self.hole, Some((_, false)));
        if !self.stream.is_empty() && !torn_record && !self.extent.is_growing() {
            let texts = ("the rest of a record".into(), format!("{} bytes of it", self.stream.len()));
            return Err(self.segment.corrupt_record(self.base, texts));
        }
        Ok(Tail {
            end: self.base,
            crc: self.crc,
            flush,
            flush_start: u64::from(flush_start),
            written: self.written,
        })
    }
}
