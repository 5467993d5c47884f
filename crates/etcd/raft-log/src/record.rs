//! Records of the stream.
//!
//! | bytes | contents |
//! |---|---|
//! | 0..4 | CRC32C of the rest, seeded with the CRC of the previous record |
//! | 4..8 | length of the payload |
//! | 8 | kind: 1 entry, 2 state, 3 truncation, 4 purge |
//! | 9 | key of a state, else zero |
//! | 10..12 | zero |
//! | 12..20 | index of the entry; first index truncated; last index purged |
//! | 20..28 | term |
//! | 28.. | payload |

use bytes::Bytes;

use crate::entry::{Entry, Purged, StateKey};
use crate::sector::{u32_at, u64_at};

pub(crate) const RECORD_HEADER_BYTES: usize = 28;

const ENTRY: u8 = 1;
const STATE: u8 = 2;
const TRUNCATION: u8 = 3;
const PURGE: u8 = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Entry(Entry),
    State(StateKey, Bytes),
    /// Removes the entries from this index on.
    Truncation(u64),
    Purge(Purged),
}

impl Record {
    fn payload(&self) -> &[u8] {
        match self {
            Self::Entry(entry) => &entry.payload,
            Self::State(_, value) => value,
            Self::Truncation(_) => &[],
            Self::Purge(purged) => &purged.note,
        }
    }

    /// The length in the stream.
    pub(crate) fn length(&self) -> usize {
        RECORD_HEADER_BYTES + self.payload().len()
    }

    /// Appends the record to `out`; returns its CRC, which seeds the next record's.
    pub(crate) fn write(&self, out: &mut Vec<u8>, seed: u32) -> u32 {
        let (kind, key, index, term) = match self {
            Self::Entry(entry) => (ENTRY, 0, entry.index, entry.term),
            Self::State(key, _) => (STATE, key.number(), 0, 0),
            Self::Truncation(from) => (TRUNCATION, 0, *from, 0),
            Self::Purge(purged) => (PURGE, 0, purged.index, purged.term),
        };
        let payload = self.payload();
        let mut head = [0; RECORD_HEADER_BYTES];
        head[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        head[8] = kind;
        head[9] = key;
        head[12..20].copy_from_slice(&index.to_le_bytes());
        head[20..28].copy_from_slice(&term.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &head[4..]), payload);
        head[..4].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(payload);
        crc
    }

    /// Decodes one complete record. The error is what was expected and what was found.
    pub(crate) fn read(bytes: &[u8], seed: u32) -> Result<(Self, u32), (String, String)> {
        let (stored, computed) = (u32_at(bytes, 0), crc32c::crc32c_append(seed, &bytes[4..]));
        if stored != computed {
            return Err((format!("a record with CRC {computed:08x}"), format!("{stored:08x}")));
        }
        let (index, term) = (u64_at(bytes, 12), u64_at(bytes, 20));
        let payload = Bytes::copy_from_slice(&bytes[RECORD_HEADER_BYTES..]);
        let record = match (bytes[8], StateKey::try_new(bytes[9])) {
            (ENTRY, _) => Self::Entry(Entry { index, term, payload }),
            (STATE, Some(key)) => Self::State(key, payload),
            (TRUNCATION, _) if payload.is_empty() => Self::Truncation(index),
            (PURGE, _) => Self::Purge(Purged { index, term, note: payload }),
            (kind, _) => {
                let expected = format!("a kind of record from {ENTRY} to {PURGE} with its key");
                return Err((expected, format!("kind {kind}, key {}, {} bytes", bytes[9], payload.len())));
            }
        };
        Ok((record, computed))
    }
}

/// The length of the record at the start of `bytes`, unverified; `None` if its header is incomplete.
pub(crate) fn length_at(bytes: &[u8]) -> Option<usize> {
    let head = bytes.get(..RECORD_HEADER_BYTES)?;
    Some(RECORD_HEADER_BYTES + u32_at(head, 4) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_are_chained() {
        let records = [
            Record::Entry(Entry { index: 5, term: 2, payload: Bytes::from_static(b"payload") }),
            Record::State(StateKey::new(3), Bytes::from_static(b"vote")),
            Record::Truncation(u64::MAX),
            Record::Purge(Purged { index: 4, term: 1, note: Bytes::from_static(b"note") }),
        ];
        let (mut seed, mut wrong) = (77, 78);
        for record in records {
            let mut bytes = Vec::new();
            let crc = record.write(&mut bytes, seed);
            assert_eq!(bytes.len(), record.length());
            assert_eq!(length_at(&bytes), Some(bytes.len()));
            assert!(Record::read(&bytes, wrong).is_err());
            assert_eq!(Record::read(&bytes, seed), Ok((record, crc)));
            (wrong, seed) = (seed, crc);
        }
    }
}
