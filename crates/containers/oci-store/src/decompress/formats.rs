//! The formats of compressed data.

use std::io::{self, BufReader, Read};

use oci_image::media_type::Compression;

/// Logarithm of zstd's largest window: 128 MiB, what `zstd --long` writes.
const MAX_WINDOW: u32 = 27;
const BUFFER: usize = 1 << 17;

/// Reads compressed data. Several gzip members or zstd frames follow one another.
pub fn decoder<'a>(
    compression: Compression,
    from: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
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
