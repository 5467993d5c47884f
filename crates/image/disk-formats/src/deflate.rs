//! Deflated blocks of disks: compressed once for all formats that contain them.
//!
//! Disks of different platforms differ in few blocks. Each block is compressed on its own, up to a byte boundary and
//! without the end of a stream (RFC 1951, a "sync flush"), so that a stream is any sequence of blocks and [`END`].

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};
use std::thread;

use flate2::{Compress, Compression, FlushCompress, Status};
use release::Digest;

/// Bytes of a block; the last one before a flush may be shorter.
pub const BLOCK: usize = 64 << 10;
/// Ends a stream: an empty final block.
pub const END: [u8; 2] = [3, 0];
/// Blocks that are compressed at a time, by all processors.
pub const BATCH: usize = 256;
/// Twice as fast as the default, for files that are larger by a fortieth.
const LEVEL: u32 = 4;
/// Header of a gzip file without a name and a time, from an unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A compressed block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Without the end of a stream.
    pub content: Vec<u8>,
    /// Of the block before compression.
    pub adler32: u32,
    crc32: u32,
    size: usize,
}

/// Compresses blocks, and keeps the results in a file.
#[derive(Debug)]
pub struct Deflater {
    /// `None` if no block is expected twice.
    kept: Option<File>,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    blocks: HashMap<Digest, Kept>,
    end: u64,
}

/// Where the content of a block is in the file.
#[derive(Debug, Clone, Copy)]
struct Kept {
    at: u64,
    length: usize,
    adler32: u32,
    crc32: u32,
}

impl Deflater {
    /// Results are kept in `file`, which is empty; without one, each block is compressed.
    #[must_use]
    pub fn new(file: Option<File>) -> Self {
        Self { kept: file, index: Mutex::default() }
    }

    /// Compresses blocks with all processors. Results do not depend on their number.
    ///
    /// # Errors
    /// Those of the file.
    pub fn blocks(&self, blocks: &[Vec<u8>]) -> io::Result<Vec<Block>> {
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        thread::scope(|scope| {
            let work = |part: &[Vec<u8>]| -> io::Result<Vec<Block>> {
                let mut compress = Compress::new(Compression::new(LEVEL), false);
                part.iter().map(|block| self.block(&mut compress, block)).collect()
            };
            let parts = blocks.chunks(blocks.len().div_ceil(threads).max(1));
            let running: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
            let mut all = Vec::with_capacity(blocks.len());
            for part in running {
                // Propagates a panic.
                all.extend(part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok(all)
        })
    }

    fn block(&self, compress: &mut Compress, block: &[u8]) -> io::Result<Block> {
        let Some(file) = &self.kept else {
            return deflate(compress, block);
        };
        let key = Digest::of(block);
        let kept = self.index.lock().unwrap_or_else(PoisonError::into_inner).blocks.get(&key).copied();
        if let Some(Kept { at, length, adler32, crc32 }) = kept {
            let mut content = vec![0; length];
            file.read_exact_at(&mut content, at)?;
            return Ok(Block { content, adler32, crc32, size: block.len() });
        }
        let deflated = deflate(compress, block)?;
        let Block { content, adler32, crc32, .. } = &deflated;
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all_at(content, index.end)?;
        let kept = Kept { at: index.end, length: content.len(), adler32: *adler32, crc32: *crc32 };
        index.end += content.len() as u64;
        index.blocks.insert(key, kept);
        Ok(deflated)
    }
}

fn deflate(compress: &mut Compress, block: &[u8]) -> io::Result<Block> {
    compress.reset();
    let mut content = Vec::with_capacity(block.len() + 64);
    loop {
        let consumed = usize::try_from(compress.total_in()).map_err(io::Error::other)?;
        let status = compress
            .compress_vec(&block[consumed..], &mut content, FlushCompress::Sync)
            .map_err(io::Error::other)?;
        let is_consumed = compress.total_in() == block.len() as u64;
        // Room that is left shows that the flush is complete.
        if is_consumed && content.len() < content.capacity() {
            break;
        }
        if status == Status::StreamEnd {
            return Err(io::Error::other("a stream that ends before its block"));
        }
        content.reserve(block.len());
    }
    let (adler32, crc32) = (simd_adler32::adler32(&block), crc32fast::hash(block));
    Ok(Block { content, adler32, crc32, size: block.len() })
}

/// Writes a gzip file. A flush ends the current block, so that equal blocks at other distances are shared.
pub struct Gzip<'a, W: Write> {
    deflater: &'a Deflater,
    out: W,
    current: Vec<u8>,
    batch: Vec<Vec<u8>>,
    checksum: crc32fast::Hasher,
    size: u64,
}

impl<'a, W: Write> Gzip<'a, W> {
    /// Writes the header.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(deflater: &'a Deflater, mut out: W) -> io::Result<Self> {
        out.write_all(&GZIP_HEADER)?;
        Ok(Self {
            deflater,
            out,
            current: Vec::with_capacity(BLOCK),
            batch: Vec::with_capacity(BATCH),
            checksum: crc32fast::Hasher::new(),
            size: 0,
        })
    }

    /// Writes what is left, and the checksum.
    ///
    /// # Errors
    /// Those of the output and of the deflater.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_block();
        self.write_batch()?;
        self.out.write_all(&END)?;
        self.out.write_all(&self.checksum.finalize().to_le_bytes())?;
        // Modulo 2^32.
        self.out.write_all(&self.size.to_le_bytes()[..4])?;
        Ok(self.out)
    }

    fn end_block(&mut self) {
        if !self.current.is_empty() {
            self.batch.push(mem::replace(&mut self.current, Vec::with_capacity(BLOCK)));
        }
    }

    fn write_batch(&mut self) -> io::Result<()> {
        for block in self.deflater.blocks(&mem::take(&mut self.batch))? {
            self.out.write_all(&block.content)?;
            let size = block.size as u64;
            self.checksum.combine(&crc32fast::Hasher::new_with_initial_len(block.crc32, size));
            self.size += size;
        }
        Ok(())
    }
}

impl<W: Write> Write for Gzip<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(BLOCK - self.current.len());
        self.current.extend_from_slice(&bytes[..length]);
        if self.current.len() == BLOCK {
            self.end_block();
            if self.batch.len() == BATCH {
                self.write_batch()?;
            }
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end_block();
        self.write_batch()?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::{GzDecoder, ZlibDecoder};

    use super::*;

    /// Bytes that do not compress, from a linear congruential generator.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // The low bits have short periods.
            ((state >> 32) as u32).to_le_bytes()
        };
        std::iter::repeat_with(next).flatten().take(length).collect()
    }

    fn keeping() -> Deflater {
        Deflater::new(Some(tempfile::tempfile().unwrap()))
    }

    fn gzip(deflater: &Deflater, parts: &[&[u8]]) -> Vec<u8> {
        let mut out = Gzip::new(deflater, Vec::new()).unwrap();
        for part in parts {
            out.write_all(part).unwrap();
            out.flush().unwrap();
        }
        out.finish().unwrap()
    }

    fn kept(deflater: &Deflater) -> usize {
        deflater.index.lock().unwrap().blocks.len()
    }

    #[test]
    fn blocks_are_streams_with_their_checksums() {
        let blocks = [noise(1, BLOCK), vec![0; BLOCK], noise(2, 17), Vec::new(), vec![b'a'; BLOCK - 1]];
        for block in Deflater::new(None).blocks(&blocks).unwrap().iter().zip(&blocks) {
            let (block, plain) = block;
            let stream = [&[0x78, 0x5e], &*block.content, &END, &block.adler32.to_be_bytes()].concat();
            let mut decoder = ZlibDecoder::new(&*stream);
            let mut content = Vec::new();
            decoder.read_to_end(&mut content).unwrap();
            assert!(content == *plain, "{}", plain.len());
            assert_eq!(decoder.total_in(), stream.len() as u64);
        }
    }

    #[test]
    fn a_gzip_file_has_one_member() {
        let noise = noise(3, 3 * BLOCK + 5);
        let cases: [&[&[u8]]; 4] = [&[], &[b"a"], &[&noise, b"", b"bc"], &[&noise[..BLOCK]]];
        for parts in cases {
            let file = gzip(&keeping(), parts);
            // Reads one member only, and compares length and checksum.
            let mut decoder = GzDecoder::new(&*file);
            let mut content = Vec::new();
            decoder.read_to_end(&mut content).unwrap();
            assert!(content == parts.concat(), "{}", parts.len());
            assert!(decoder.into_inner().is_empty());
        }
    }

    #[test]
    fn equal_blocks_are_compressed_once_and_change_no_byte() {
        let (deflater, data) = (keeping(), noise(4, (BATCH + 3) * BLOCK));
        let head = [7; 512];
        let first = gzip(&deflater, &[&data]);
        assert_eq!(kept(&deflater), BATCH + 3);
        let second = gzip(&deflater, &[&head, &data]);
        assert_eq!(kept(&deflater), BATCH + 4, "only the head is new");
        assert!(gzip(&Deflater::new(None), &[&data]) == first);
        assert!(gzip(&keeping(), &[&head, &data]) == second);
    }

    #[test]
    fn a_full_file_is_an_error() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = Deflater::new(Some(full)).blocks(&[vec![1; BLOCK]]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
