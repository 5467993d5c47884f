//! SHA-256 digests. The protocol uses hexadecimal or base64 depending on the attribute; parsing accepts both
//! everywhere.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// As bytes. Displayed in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

/// The text is neither hexadecimal nor base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits or 44 characters of base64")]
pub struct ParseSha256Error;

impl Sha256 {
    /// The other notation of the protocol.
    pub fn base64(&self) -> String {
        STANDARD.encode(self.0)
    }
}

/// 64 lower-case hexadecimal digits.
impl fmt::Display for Sha256 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Sha256 {
    type Err = ParseSha256Error;

    fn from_str(text: &str) -> Result<Self, ParseSha256Error> {
        let bytes = match text.len() {
            64 => hexadecimal(text.as_bytes()),
            44 => STANDARD.decode(text).ok(),
            _ => None,
        };
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(ParseSha256Error)
    }
}

fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8]| u8::try_from(value(pair[0])? << 4 | value(pair[1])?).ok();
    digits.chunks_exact(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

    use super::*;

    #[test]
    fn both_encodings_are_equal() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let base64 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let value: Sha256 = hex.parse().unwrap();
        assert_eq!(base64.parse(), Ok(value));
        assert_eq!(hex.to_uppercase().parse(), Ok(value));
        assert_eq!((value.to_string(), value.base64()), (hex.to_owned(), base64.to_owned()));
        for wrong in ["", "e3", &hex[1..], &hex.replace('e', "g"), &base64.replace('=', "A"), &"é".repeat(32)]
        {
            assert_eq!(wrong.parse::<Sha256>(), Err(ParseSha256Error), "{wrong}");
        }
    }
}
