//! Generates segments for the fuzzer: all checksums are valid, the rest is determined by the input. Not part of the
//! public API.

use crate::entry::LogId;
use crate::limits::{SECTOR_BYTES, SECTOR_DATA_BYTES, SEGMENT_BYTES_MIN};
use crate::record::RECORD_HEADER_BYTES;
use crate::sector::{FIRST_SECTOR, SectorCodec};
use crate::segment::{Header, segment_name};

/// The id of the generated log.
const ID: LogId = LogId([7; 16]);
const SEGMENTS_MAX: usize = 3;
const SECTORS: usize = SEGMENT_BYTES_MIN as usize / SECTOR_BYTES - FIRST_SECTOR as usize;
/// Commands of the input, by the first byte modulo 8. Others append an entry with the next index.
const END: u8 = 0;
const RAW_RECORD: u8 = 1;
const RAW_BYTES: u8 = 2;
const STATE: u8 = 3;
const TRUNCATION: u8 = 4;
const PURGE: u8 = 5;

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// The state that continues in the next segment.
struct Chain {
    crc: u32,
    end: u64,
    next: u64,
}

/// Names and contents of the files of a log.
pub fn segments(input: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut input = Input(input);
    let mut chain = Chain { crc: 0, end: 0, next: 0 };
    let mut files = Vec::new();
    while files.len() < SEGMENTS_MAX && (files.is_empty() || !input.0.is_empty()) {
        let sequence = files.len() as u64 + 1;
        files.push((segment_name(sequence), segment(&mut input, sequence, &mut chain)));
    }
    files
}

fn segment(input: &mut Input<'_>, sequence: u64, chain: &mut Chain) -> Vec<u8> {
    let odd = input.byte();
    let mut header = Header {
        id: ID,
        sequence,
        segment_bytes: SEGMENT_BYTES_MIN,
        previous_end: chain.end,
        previous_crc: chain.crc,
        last: chain.next.checked_sub(1),
    };
    if odd & 1 != 0 {
        header.last = Some(input.number());
        chain.next = header.last.unwrap_or(0).wrapping_add(1);
    }
    if odd & 2 != 0 {
        header.previous_end = input.number();
    }
    let mut stream = Vec::new();
    loop {
        match input.byte() % 8 {
            END => break,
            RAW_BYTES => {
                let count = input.byte();
                stream.extend_from_slice(input.bytes(count.into()));
            }
            kind => record(input, kind, &mut stream, chain),
        }
    }
    chain.end = stream.len() as u64;
    let mut file = header.write().to_vec();
    sectors(input, odd & 4 != 0, SectorCodec::new(ID, sequence), &stream, &mut file);
    file.resize(SEGMENT_BYTES_MIN as usize, 0);
    file
}

fn record(input: &mut Input<'_>, kind: u8, stream: &mut Vec<u8>, chain: &mut Chain) {
    let (stored, key, index, term) = match kind {
        RAW_RECORD => (input.byte(), input.byte(), input.number(), input.number()),
        STATE => (2, input.byte(), 0, 0),
        TRUNCATION => (3, 0, chain.next.wrapping_sub(input.byte().into()), 0),
        PURGE => (4, 0, chain.next.wrapping_sub(input.byte().into()), 1),
        _ => (1, 0, chain.next, 1),
    };
    let count = if kind == TRUNCATION { 0 } else { usize::from(input.byte()) * 3 };
    let payload = input.bytes(count);
    let mut head = [0; RECORD_HEADER_BYTES];
    head[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    (head[8], head[9]) = (stored, key);
    head[12..20].copy_from_slice(&index.to_le_bytes());
    head[20..28].copy_from_slice(&term.to_le_bytes());
    chain.crc = crc32c::crc32c_append(crc32c::crc32c_append(chain.crc, &head[4..]), payload);
    head[..4].copy_from_slice(&chain.crc.to_le_bytes());
    stream.extend_from_slice(&head);
    stream.extend_from_slice(payload);
    match stored {
        1 => chain.next = index.wrapping_add(1),
        3 => chain.next = index,
        4 => chain.next = chain.next.max(index.wrapping_add(1)),
        _ => {}
    }
}

/// Divides the stream into sectors. With `oddly` the input determines each sector.
fn sectors(input: &mut Input<'_>, oddly: bool, codec: SectorCodec, stream: &[u8], file: &mut Vec<u8>) {
    for (number, data) in (FIRST_SECTOR..).zip(stream.chunks(SECTOR_DATA_BYTES).take(SECTORS)) {
        if !oddly {
            codec.write(file, number, number as u32, number as u32, data);
            continue;
        }
        let (how, flush, flush_start) = (input.byte(), input.byte(), input.byte());
        match how % 4 {
            0 => file.resize(file.len() + SECTOR_BYTES, 0),
            1 => {
                let used = data.len().min(usize::from(input.byte()) * 2 + 1);
                codec.write(file, number, flush.into(), flush_start.into(), &data[..used]);
            }
            _ => codec.write(file, number, flush.into(), flush_start.into(), data),
        }
    }
}

/// Inputs for valid logs: empty, one segment, two segments, all kinds of records.
pub fn samples() -> Vec<Vec<u8>> {
    let entry = [7, 2, b'a', b'b', b'c', b'd', b'e', b'f'];
    let all = [
        &[0][..],
        &entry,
        &entry,
        &[STATE, 1, 1, 9, 9, 9],
        &[TRUNCATION, 1],
        &entry,
        &[PURGE, 2, 1, 9, 9, 9],
        &entry,
        &[END],
    ];
    let long = [&[7, 255][..], &[1; 765]].concat();
    let one = [&[0][..], &entry, &long, &[END]].concat();
    let torn = [&[4][..], &entry, &long, &long, &[END], &[2, 1, 1, 2, 2, 2, 1, 2, 2, 9, 2, 2, 2]].concat();
    let beyond =
        [&[1][..], &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &entry, &entry, &[END]].concat();
    let raw = [&[0, RAW_RECORD, 4, 0][..], &[0xff; 16], &[0, END]].concat();
    vec![Vec::new(), all.concat(), [&one[..], &all.concat()].concat(), torn, beyond, raw]
}
