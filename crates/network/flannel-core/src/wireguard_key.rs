//! WireGuard's keys.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// A public key of 32 bytes; as text in Base64, as `wg` prints it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct WireguardKey(pub [u8; 32]);

/// A text that is no public key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a WireGuard public key: 32 bytes in Base64 expected")]
pub struct ParseKeyError(String);

impl FromStr for WireguardKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<WireguardKey, ParseKeyError> {
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(WireguardKey).ok_or_else(|| ParseKeyError(text.to_string()))
    }
}

impl fmt::Display for WireguardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for WireguardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<WireguardKey> for String {
    fn from(key: WireguardKey) -> String {
        key.to_string()
    }
}

impl TryFrom<String> for WireguardKey {
    type Error = ParseKeyError;

    fn try_from(text: String) -> Result<WireguardKey, ParseKeyError> {
        text.parse()
    }
}

/// A private or preshared key of 32 bytes, which no message shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WireguardSecret(pub [u8; 32]);

/// A text that is no key. The error does not contain it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("32 bytes in Base64 are required, as `wg genkey` prints them")]
pub struct ParseSecretError;

impl WireguardSecret {
    /// A private key of 32 random bytes: Curve25519 determines five of their bits.
    pub fn private(mut random: [u8; 32]) -> WireguardSecret {
        random[0] &= 0b1111_1000;
        random[31] = random[31] & 0b0111_1111 | 0b0100_0000;
        WireguardSecret(random)
    }

    /// The text of a key file.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }
}

impl FromStr for WireguardSecret {
    type Err = ParseSecretError;

    fn from_str(text: &str) -> Result<WireguardSecret, ParseSecretError> {
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(WireguardSecret).ok_or(ParseSecretError)
    }
}

impl fmt::Debug for WireguardSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets() {
        let secret = WireguardSecret::private([0xff; 32]);
        assert_eq!((secret.0[0], secret.0[31]), (0b1111_1000, 0b0111_1111));
        assert_eq!(WireguardSecret::private(secret.0), secret);
        assert_eq!(secret.to_base64().parse(), Ok(secret));
        assert_eq!(format!("{secret:?}"), "(hidden)");
        for text in ["", "AAAA", "?", &format!("{}\n", secret.to_base64())] {
            assert_eq!(text.parse::<WireguardSecret>(), Err(ParseSecretError), "{text}");
        }
    }
}
