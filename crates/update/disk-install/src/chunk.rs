//! The parts that an image is written in, and compared.

use disk_formats::blocks::is_zero;
use disk_slots::gpt::{HEAD, ImageTable};
use release::{ChunkedDigest, Digest};

/// Bytes that are written, and later compared, as one. A divisor of the cleared ends.
pub const CHUNK: usize = ChunkedDigest::CHUNK;

/// A chunk of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub number: u64,
    /// Bytes of the image in it: fewer in the last one.
    pub length: usize,
    /// Which of them belong on the disk: those from the primary table to the end of the last partition.
    written: (usize, usize),
}

impl Range {
    /// All of an image.
    pub fn all(table: &ImageTable) -> impl Iterator<Item = Self> {
        let (bytes, content) = (table.image_bytes(), table.content_bytes());
        (0..bytes.div_ceil(CHUNK as u64)).map(move |number| {
            let start = number * CHUNK as u64;
            let within = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(CHUNK).min(CHUNK);
            Self { number, length: within(bytes), written: (within(HEAD as u64), within(content)) }
        })
    }

    /// Where the chunk begins in the image and on the disk.
    pub fn start(&self) -> u64 {
        self.number * CHUNK as u64
    }

    /// Where what is written begins on the disk.
    pub fn offset(&self) -> u64 {
        self.start() + self.written.0 as u64
    }

    /// What is written of the chunk's bytes; empty if nothing is.
    pub fn written<'a>(&self, chunk: &'a [u8]) -> &'a [u8] {
        chunk.get(self.written.0..self.written.1).unwrap_or_default()
    }

    pub fn written_mut<'a>(&self, chunk: &'a mut [u8]) -> &'a mut [u8] {
        chunk.get_mut(self.written.0..self.written.1).unwrap_or_default()
    }

    pub fn written_bytes(&self) -> u64 {
        self.written.1.saturating_sub(self.written.0) as u64
    }
}

/// Bytes of the disk: zeros, or with this digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Zeros,
    Data(Digest),
}

impl Content {
    /// Of at most a chunk.
    pub fn of(bytes: &[u8]) -> Self {
        if is_zero(bytes) { Self::Zeros } else { Self::Data(Digest::of(bytes)) }
    }
}
