//! Decompression of layers and archives.

use std::io::{self, BufReader, Read};

use oci_image::media_type::Compression;

/// Logarithm of zstd's largest window: 128 MiB, what `zstd --long` writes.
const MAX_WINDOW: u32 = 27;
const BUFFER: usize = 1 << 17;
const XZ: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const BZIP2: [u8; 3] = *b"BZh";

/// Reads compressed data. Several gzip members or zstd frames follow one another.
pub fn decoder<'a>(compression: Compression, from: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(BufReader::with_capacity(BUFFER, from)),
        Compression::Gzip => {
            Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(BUFFER, from)))
        }
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(BUFFER, from))?;
            decoder.window_log_max(MAX_WINDOW)?;
            Box::new(decoder)
        }
    })
}

/// Reads data whose first bytes show its compression.
pub fn detect<'a>(mut from: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = Vec::new();
    from.by_ref().take(XZ.len() as u64).read_to_end(&mut start)?;
    if start.starts_with(&XZ) || start.starts_with(&BZIP2) {
        return Err(io::Error::other("compressed by xz or bzip2; expected gzip, zstd or no compression"));
    }
    decoder(Compression::of_magic(&start), io::Cursor::new(start).chain(from))
}
