//! WireGuard's public keys.

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
