//! Sectors divide the record stream into units that a disk writes atomically, each with a checksum.
//!
//! Layout of a sector, except for the header sector of a file:
//!
//! | bytes | contents |
//! |---|---|
//! | 0..4 | CRC32C of 4..512, seeded with log id, segment and sector number |
//! | 4..8 | the flush that wrote it last, counted from 1 in each segment |
//! | 8..12 | the first sector written by that flush |
//! | 12..14 | bytes of data, at least 1 |
//! | 14..16 | zero |
//! | 16..512 | data, padded with zeros |

use crate::entry::LogId;
use crate::limits::{SECTOR_BYTES, SECTOR_DATA_BYTES, SECTOR_HEADER_BYTES};

/// The first sector with data; sector 0 is the header.
pub(crate) const FIRST_SECTOR: u64 = 1;

const ZERO_SECTOR: [u8; SECTOR_BYTES] = [0; SECTOR_BYTES];

/// Encodes and decodes the sectors of one segment; holds the seed of their checksums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SectorCodec(u32);

/// A decoded sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sector<'a> {
    /// Never written.
    Zero,
    Data {
        flush: u32,
        flush_start: u32,
        data: &'a [u8],
    },
    Damaged {
        stored: u32,
        computed: u32,
    },
}

impl SectorCodec {
    pub(crate) fn new(id: LogId, segment: u64) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(&id.0), &segment.to_le_bytes()))
    }

    fn checksum(self, number: u64, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &number.to_le_bytes()), bytes)
    }

    /// Appends one sector to `out`. `data` must not be empty and must fit.
    pub(crate) fn write(self, out: &mut Vec<u8>, number: u64, flush: u32, flush_start: u32, data: &[u8]) {
        debug_assert!(!data.is_empty() && data.len() <= SECTOR_DATA_BYTES);
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&flush.to_le_bytes());
        out.extend_from_slice(&flush_start.to_le_bytes());
        out.extend_from_slice(&(data.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(data);
        out.resize(start + SECTOR_BYTES, 0);
        let checksum = self.checksum(number, &out[start + 4..]);
        out[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
    }

    /// `bytes` is one sector.
    pub(crate) fn read(self, number: u64, bytes: &[u8]) -> Sector<'_> {
        if bytes == ZERO_SECTOR {
            return Sector::Zero;
        }
        let (stored, computed) = (u32_at(bytes, 0), self.checksum(number, &bytes[4..]));
        let used = usize::from(u16::from_le_bytes([bytes[12], bytes[13]]));
        if stored != computed || used == 0 || used > SECTOR_DATA_BYTES {
            return Sector::Damaged { stored, computed };
        }
        let data = &bytes[SECTOR_HEADER_BYTES..SECTOR_HEADER_BYTES + used];
        Sector::Data { flush: u32_at(bytes, 4), flush_start: u32_at(bytes, 8), data }
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// The capacity of a segment in bytes of the stream.
pub(crate) fn capacity(segment_bytes: u64) -> u64 {
    (segment_bytes / SECTOR_BYTES as u64 - FIRST_SECTOR) * SECTOR_DATA_BYTES as u64
}

/// The sector that holds a byte of the stream, and the offset within its data.
pub(crate) fn sector_of(stream: u64) -> (u64, usize) {
    let data = SECTOR_DATA_BYTES as u64;
    (FIRST_SECTOR + stream / data, (stream % data) as usize)
}

/// The offset of a sector in its file.
pub(crate) fn file_offset(sector: u64) -> u64 {
    sector * SECTOR_BYTES as u64
}

/// The offset in the file of a byte of the stream.
pub(crate) fn offset_in_file(stream: u64) -> u64 {
    let (sector, within) = sector_of(stream);
    file_offset(sector) + (SECTOR_HEADER_BYTES + within) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(number: u64, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        SectorCodec::new(LogId([7; 16]), 3).write(&mut out, number, 5, 2, data);
        out
    }

    #[test]
    fn sectors_round_trip() {
        for length in [1, 2, SECTOR_DATA_BYTES - 1, SECTOR_DATA_BYTES] {
            let data = vec![9; length];
            let bytes = written(4, &data);
            assert_eq!(bytes.len(), SECTOR_BYTES);
            let read = SectorCodec::new(LogId([7; 16]), 3).read(4, &bytes);
            assert_eq!(read, Sector::Data { flush: 5, flush_start: 2, data: &data });
        }
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let bytes = written(4, &[0; 100]);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = SectorCodec::new(LogId([7; 16]), 3).read(4, &flipped);
            assert!(matches!(read, Sector::Damaged { .. }), "bit {bit}: {read:?}");
        }
    }

    #[test]
    fn a_sector_of_another_log_segment_or_position_is_damaged() {
        let bytes = written(4, b"data");
        let seals = [SectorCodec::new(LogId([8; 16]), 3), SectorCodec::new(LogId([7; 16]), 2)];
        for codec in seals {
            assert!(matches!(codec.read(4, &bytes), Sector::Damaged { .. }));
        }
        assert!(matches!(SectorCodec::new(LogId([7; 16]), 3).read(5, &bytes), Sector::Damaged { .. }));
    }
}
