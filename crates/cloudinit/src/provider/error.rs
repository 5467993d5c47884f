//! Answers that can not be used at all.

use crate::encoding::DecodeError;

/// Text of a provider that messages show is cut to this.
const MAX_SHOWN_CHARS: usize = 80;

#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    #[error("malformed public key: {0:?}")]
    PublicKey(String),
    #[error("couldn't parse {0:?} as IP address")]
    Address(String),
    #[error("{what} is not valid")]
    Json { what: &'static str, source: serde_json::Error },
    #[error("{what} can not be decoded")]
    Encoding { what: &'static str, source: DecodeError },
}

/// For messages: a provider that answers nonsense must not fill the log.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN_CHARS).collect()
}
