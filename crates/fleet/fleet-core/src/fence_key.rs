//! The cluster's shared key of queries between fleetds.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Authenticates queries between fleetds, and their responses. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct FenceKey(pub [u8; FenceKey::BYTES]);

impl FenceKey {
    pub const BYTES: usize = 32;

    pub fn encode(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// # Errors
    /// The cause, without the value.
    pub fn decode(text: &str) -> Result<Self, String> {
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| format!("not {} bytes in Base64", Self::BYTES))
    }
}

impl fmt::Debug for FenceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FenceKey(..)")
    }
}
