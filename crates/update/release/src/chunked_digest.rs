//! The digest of a disk by its chunks: several threads compute it together, and holes cost nothing.

use std::sync::LazyLock;

use digest::Digest as _;
use sha2::Sha256;

use crate::digest::Digest;

static ZEROS: LazyLock<Digest> = LazyLock::new(|| Digest::of(&[0; ChunkedDigest::CHUNK]));

/// SHA-256 of the disk's length in bytes, as 8 bytes in little-endian order, followed by the SHA-256 of each chunk. The last
/// chunk is padded with zeros.
#[derive(Debug, Clone)]
pub struct ChunkedDigest {
    hasher: Sha256,
    chunks: u64,
}

impl ChunkedDigest {
    /// Bytes of a chunk.
    pub const CHUNK: usize = 1 << 20;

    /// Of a disk of this length in bytes.
    #[must_use]
    pub fn new(length: u64) -> Self {
        Self { hasher: Sha256::new_with_prefix(length.to_le_bytes()), chunks: 0 }
    }

    /// The digest of a chunk of zeros.
    #[must_use]
    pub fn zeros() -> Digest {
        *ZEROS
    }

    /// Adds chunk `number`, which is not below those that were added. Chunks in between are zeros.
    pub fn add(&mut self, number: u64, chunk: &Digest) {
        self.zeros_up_to(number);
        self.hasher.update(chunk.0);
        self.chunks = number.saturating_add(1);
    }

    /// The digest of `chunks` chunks. Those that were not added are zeros.
    #[must_use]
    pub fn finish(mut self, chunks: u64) -> Digest {
        self.zeros_up_to(chunks);
        Digest::from_hasher(self.hasher)
    }

    fn zeros_up_to(&mut self, number: u64) {
        while self.chunks < number {
            self.hasher.update(ZEROS.0);
            self.chunks += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_digest_of_the_length_and_of_each_chunks_digest() {
        let (data, zeros) = (Digest::of(b"data"), Digest::of(&vec![0; 1 << 20]));
        let expected = [&(5_u64 << 20).to_le_bytes()[..], &zeros.0, &data.0, &zeros.0, &data.0, &zeros.0];
        let mut digest = ChunkedDigest::new(5 << 20);
        digest.add(1, &data);
        digest.add(3, &data);
        assert_eq!(digest.clone().finish(5), Digest::of(&expected.concat()));
        let mut again = ChunkedDigest::new(5 << 20);
        for (number, chunk) in [zeros, data, zeros, data, zeros].iter().enumerate() {
            again.add(number as u64, chunk);
        }
        assert_eq!(again.finish(5), digest.clone().finish(5));
        assert_ne!(digest.clone().finish(4), digest.finish(5));
        assert_ne!(ChunkedDigest::new(1).finish(1), ChunkedDigest::new(2).finish(1));
    }
}
