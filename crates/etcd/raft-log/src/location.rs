//! The location of a record.

use std::sync::Arc;

use crate::disk::DiskFile;
use crate::error::Corruption;
use crate::record::RECORD_HEADER_BYTES;
use crate::sector::{SectorCodec, offset_in_file};
use crate::segment::Header;

/// A record in the stream of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordLocation {
    pub segment: u64,
    /// In the stream; less than 2^30.
    pub offset: u32,
    /// Header and payload.
    pub length: u32,
    /// The CRC of the previous record, which seeds this record's CRC.
    pub seed: u32,
}

impl RecordLocation {
    pub(crate) fn end(self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }

    pub(crate) fn payload(self) -> usize {
        self.length as usize - RECORD_HEADER_BYTES
    }
}

/// An open segment file.
pub(crate) struct Segment {
    pub file: Arc<dyn DiskFile>,
    pub name: String,
    pub header: Header,
    pub codec: SectorCodec,
}

impl Segment {
    pub(crate) fn new(file: Arc<dyn DiskFile>, name: String, header: Header) -> Self {
        let codec = SectorCodec::new(header.id, header.sequence);
        Self { file, name, header, codec }
    }

    /// `offset` is in the file.
    pub(crate) fn corrupt(
        &self,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Corruption {
        Corruption { file: self.name.clone(), offset, expected: expected.into(), found: found.into() }
    }

    /// `offset` is in the stream.
    pub(crate) fn corrupt_record(&self, offset: u64, (expected, found): (String, String)) -> Corruption {
        self.corrupt(offset_in_file(offset), expected, found)
    }

    pub(crate) fn damaged(&self, offset: u64, stored: u32, computed: u32) -> Corruption {
        self.corrupt(offset, format!("a sector with CRC {computed:08x}"), format!("{stored:08x}"))
    }
}
