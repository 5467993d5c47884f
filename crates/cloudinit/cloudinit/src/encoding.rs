//! gzip and base64 with size limits, for user-data and for file contents.
//!
//! Damaged input is an error; partial output is never returned.

use std::io::Read;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use flate2::read::MultiGzDecoder;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ANY_PADDING: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, ANY_PADDING);
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, ANY_PADDING);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("Unable to decode gzip: {0}")]
    Gzip(String),
    #[error("Unable to decode gzip: more than {0} bytes when unpacked")]
    TooLarge(usize),
    #[error("Unable to decode base64: {0}")]
    Base64(String),
    #[error("Unsupported encoding \"{0}\"")]
    Unsupported(String),
}

/// Whether `bytes` start with the magic number of gzip.
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP_MAGIC)
}

/// Decompresses gzip.
///
/// # Errors
/// The data is damaged, including its checksum, or decompresses to more than `limit` bytes.
pub fn gunzip(bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(bytes)
        .take(limit as u64 + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| DecodeError::Gzip(error.to_string()))?;
    if read > limit {
        return Err(DecodeError::TooLarge(limit));
    }
    Ok(unpacked)
}

/// Decoded base64. Both alphabets, missing padding and white space are accepted.
#[derive(Debug, PartialEq, Eq)]
pub struct Base64 {
    pub bytes: Vec<u8>,
    /// Whether the text uses the standard alphabet with padding.
    pub strict: bool,
}

/// Decodes base64.
///
/// # Errors
/// A character is not in the alphabet, or the length is invalid.
pub fn decode_base64(text: &[u8]) -> Result<Base64, DecodeError> {
    let packed: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let url_safe = packed.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let engine = if url_safe { &URL } else { &PLAIN };
    let bytes = engine.decode(&packed).map_err(|error| DecodeError::Base64(error.to_string()))?;
    Ok(Base64 { bytes, strict: !url_safe && packed.len().is_multiple_of(4) })
}

/// The encoding of a file's content (contract 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentEncoding {
    pub base64: bool,
    pub gzip: bool,
}

impl ContentEncoding {
    /// Returns `None` for an unknown name. The empty name stands for plain content.
    pub fn parse(name: &str) -> Option<Self> {
        let (gzip, base64) = match name {
            "" => (false, false),
            "b64" | "base64" => (false, true),
            "gz" | "gzip" => (true, false),
            "gz+base64" | "gzip+base64" | "gz+b64" | "gzip+b64" => (true, true),
            _ => return None,
        };
        Some(Self { base64, gzip })
    }

    pub fn is_plain(self) -> bool {
        !self.base64 && !self.gzip
    }

    /// Decodes `content`.
    ///
    /// # Errors
    /// The content does not match its encoding, or decodes to more than `limit` bytes.
    pub fn decode(self, content: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        let packed = if self.base64 { decode_base64(content)?.bytes } else { content.to_vec() };
        if self.gzip { gunzip(&packed, limit) } else { Ok(packed) }
    }
}

#[cfg(test)]
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, content: &[u8], expect: Result<&[u8], &str>) {
        let encoding = ContentEncoding::parse(name).unwrap();
        let got = encoding.decode(content, 100).map_err(|error| error.to_string());
        assert_eq!(got.as_deref().map_err(String::as_str), expect, "{name}");
    }

    #[test]
    fn contents() {
        check("", b"hi\n", Ok(b"hi\n"));
        check("b64", b"aGk=", Ok(b"hi"));
        check("base64", b"aG\r\n k", Ok(b"hi"));
        check("base64", b"_-8", Ok(&[0xff, 0xef]));
        check("base64", b"a*", Err("Unable to decode base64: Invalid symbol 42, offset 1."));
        check("gzip", &gzip(b"hi"), Ok(b"hi"));
        check("gz+b64", base64::engine::general_purpose::STANDARD.encode(gzip(b"hi")).as_bytes(), Ok(b"hi"));
        check("gz", &gzip(&[0; 200]), Err("Unable to decode gzip: more than 100 bytes when unpacked"));
        assert_eq!(ContentEncoding::parse("Base64"), None);
    }

    #[test]
    fn a_damaged_tail_is_an_error() {
        let packed = gzip(b"content that matters");
        for end in 0..packed.len() {
            assert!(gunzip(&packed[..end], 100).is_err(), "cut at {end}");
        }
        let mut wrong = packed.clone();
        let at = wrong.len() - 6;
        wrong[at] ^= 1;
        assert!(gunzip(&wrong, 100).is_err());
    }
}
