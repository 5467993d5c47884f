//! Segment files: names and header sector.
//!
//! | bytes | contents |
//! |---|---|
//! | 0..8 | `KEELRLOG` |
//! | 8..12 | format version, which is checked before the rest |
//! | 12..16 | CRC32C of the sector with these four bytes zero |
//! | 16..32 | log id |
//! | 32..40 | sequence number, from 1 |
//! | 40..48 | size of the file |
//! | 48..56 | end of the previous segment's stream |
//! | 56..60 | CRC of the previous segment's last record, which seeds the first one here |
//! | 60 | 1 if there is a last index, else 0 |
//! | 61..64 | zero |
//! | 64..72 | last index at the start of this segment |
//! | 72..512 | zero |

use crate::entry::LogId;
use crate::limits::{SECTOR_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::sector::{capacity, u32_at, u64_at};

pub(crate) const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"KEELRLOG";
const SUFFIX: &str = ".log";
const RESERVE: &str = "reserve-";
const RESERVE_SUFFIX: &str = ".free";
/// A file that is being created; removed at open.
const UNFINISHED_SUFFIX: &str = ".tmp";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub id: LogId,
    pub sequence: u64,
    pub segment_bytes: u64,
    pub previous_end: u64,
    pub previous_crc: u32,
    pub last: Option<u64>,
}

/// The kind of a file, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Segment(u64),
    Reserve(u64),
    Unfinished,
    /// Not a file of the log; ignored.
    Other,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    UnknownVersion(u32),
    Damaged { offset: u64, expected: String, found: String },
}

pub(crate) fn segment_name(sequence: u64) -> String {
    format!("{sequence:016x}{SUFFIX}")
}

pub(crate) fn reserve_name(number: u64) -> String {
    format!("{RESERVE}{number}{RESERVE_SUFFIX}")
}

pub(crate) fn unfinished_name(number: u64) -> String {
    format!("{RESERVE}{number}{UNFINISHED_SUFFIX}")
}

impl Kind {
    pub(crate) fn of(name: &str) -> Self {
        if let Some(digits) = name.strip_suffix(SUFFIX)
            && let Ok(sequence) = u64::from_str_radix(digits, 16)
            && segment_name(sequence) == name
        {
            return Self::Segment(sequence);
        }
        let Some(rest) = name.strip_prefix(RESERVE) else { return Self::Other };
        if rest.ends_with(UNFINISHED_SUFFIX) {
            return Self::Unfinished;
        }
        let number = rest.strip_suffix(RESERVE_SUFFIX).and_then(|digits| digits.parse().ok());
        number.map_or(Self::Other, Self::Reserve)
    }
}

impl Header {
    pub(crate) fn capacity(&self) -> u64 {
        capacity(self.segment_bytes)
    }

    pub(crate) fn write(&self) -> [u8; SECTOR_BYTES] {
        let mut bytes = [0; SECTOR_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.id.0);
        bytes[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.segment_bytes.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.previous_end.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.previous_crc.to_le_bytes());
        bytes[60] = u8::from(self.last.is_some());
        bytes[64..72].copy_from_slice(&self.last.unwrap_or(0).to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes the header of a file with the name of segment `sequence` and a size of `size` bytes.
    pub(crate) fn read(bytes: &[u8; SECTOR_BYTES], sequence: u64, size: u64) -> Result<Self, HeaderError> {
        if bytes[..8] != MAGIC {
            return Err(damaged(0, "KEELRLOG", format!("{:02x?}", &bytes[..8])));
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(HeaderError::UnknownVersion(version));
        }
        let mut unsigned = *bytes;
        unsigned[12..16].fill(0);
        let (stored, computed) = (u32_at(bytes, 12), crc32c::crc32c(&unsigned));
        if stored != computed {
            return Err(damaged(12, format!("header CRC {computed:08x}"), format!("{stored:08x}")));
        }
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[16..32]);
        let header = Self {
            id: LogId(id),
            sequence: u64_at(bytes, 32),
            segment_bytes: u64_at(bytes, 40),
            previous_end: u64_at(bytes, 48),
            previous_crc: u32_at(bytes, 56),
            last: (bytes[60] == 1).then(|| u64_at(bytes, 64)),
        };
        // No index follows the largest one.
        if header.last == Some(u64::MAX) {
            return Err(damaged(64, "the last index", "none that another can follow"));
        }
        if header.sequence != sequence {
            return Err(damaged(32, format!("segment {sequence}"), format!("segment {}", header.sequence)));
        }
        if header.segment_bytes != size {
            let expected = format!("a file of {} bytes", header.segment_bytes);
            return Err(damaged(40, expected, format!("{size} bytes")));
        }
        if !is_segment_size(size) {
            return Err(damaged(40, "the size of a segment", format!("{size} bytes")));
        }
        Ok(header)
    }
}

/// Whether a segment may have this size.
pub(crate) fn is_segment_size(bytes: u64) -> bool {
    (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) && bytes.is_multiple_of(SECTOR_BYTES as u64)
}

fn damaged(offset: u64, expected: impl Into<String>, found: impl Into<String>) -> HeaderError {
    HeaderError::Damaged { offset, expected: expected.into(), found: found.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let (id, segment_bytes) = (LogId([1; 16]), SEGMENT_BYTES_MIN);
        Header { id, sequence: 2, segment_bytes, previous_end: 5, previous_crc: 6, last: Some(7) }
    }

    #[test]
    fn headers_round_trip_and_every_flipped_bit_is_detected() {
        let bytes = header().write();
        assert_eq!(Header::read(&bytes, 2, SEGMENT_BYTES_MIN), Ok(header()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::read(&flipped, 2, SEGMENT_BYTES_MIN).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_version_is_checked_first() {
        let mut bytes = header().write();
        bytes[8] = 9;
        bytes[100] = 1;
        assert_eq!(Header::read(&bytes, 2, 0), Err(HeaderError::UnknownVersion(9)));
    }

    #[test]
    fn file_kinds_by_name() {
        let cases = [
            (segment_name(1), Kind::Segment(1)),
            (segment_name(u64::MAX), Kind::Segment(u64::MAX)),
            (reserve_name(3), Kind::Reserve(3)),
            (unfinished_name(3), Kind::Unfinished),
            ("1.log".into(), Kind::Other),
            ("+000000000000001.log".into(), Kind::Other),
            ("reserve-x.free".into(), Kind::Other),
            ("notes".into(), Kind::Other),
        ];
        for (name, kind) in cases {
            assert_eq!(Kind::of(&name), kind, "{name}");
        }
    }
}
