//! Pagination of lists.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use base64::{DecodeError, DecodeSliceError};
use thiserror::Error;

/// Page number and size. Encoded as URL-safe base64 of both as little-endian 16-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageToken {
    /// Entries per page; the server accepts its own limit only.
    pub limit: u16,
    /// From 1.
    pub page: u16,
}

/// The texts are the contract's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum TokenError {
    #[error("too many values for page token")]
    TooMany,
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    #[error("unexpected EOF")]
    Short,
    #[error("token limit must be {0}")]
    Limit(u16),
    #[error("token page must be greater than zero")]
    Page,
}

impl PageToken {
    pub(crate) fn first(limit: u16) -> Self {
        Self { limit, page: 1 }
    }

    /// The value of `nextPageToken`.
    pub fn encode(self) -> String {
        let [a, b] = self.limit.to_le_bytes();
        let [c, d] = self.page.to_le_bytes();
        URL_SAFE.encode([a, b, c, d])
    }

    /// From the `nextPageToken` values of a query; none means the first page.
    pub fn from_query<'a>(values: impl IntoIterator<Item = &'a str>, limit: u16) -> Result<Self, TokenError> {
        let mut values = values.into_iter();
        let Some(text) = values.next() else {
            return Ok(Self::first(limit));
        };
        if values.next().is_some() {
            return Err(TokenError::TooMany);
        }
        let token = Self::decode(text)?;
        if token.limit != limit {
            return Err(TokenError::Limit(limit));
        }
        if token.page == 0 {
            return Err(TokenError::Page);
        }
        Ok(token)
    }

    fn decode(text: &str) -> Result<Self, TokenError> {
        // Longer tokens are accepted; only the two numbers are read.
        let mut bytes = [0; 64];
        let length = URL_SAFE.decode_slice(text, &mut bytes).map_err(|error| match error {
            DecodeSliceError::DecodeError(DecodeError::InvalidByte(at, _)) => TokenError::Base64(at),
            _ => TokenError::Base64(text.len() / 4 * 4),
        })?;
        match bytes[..length] {
            [a, b, c, d, ..] => {
                Ok(Self { limit: u16::from_le_bytes([a, b]), page: u16::from_le_bytes([c, d]) })
            }
            _ => Err(TokenError::Short),
        }
    }
}

/// The items of a page, and the token of the next one if there are more.
pub fn paginate<T>(items: &[T], token: PageToken) -> (&[T], Option<PageToken>) {
    let limit = usize::from(token.limit.max(1));
    let begin = (usize::from(token.page.max(1)) - 1).saturating_mul(limit).min(items.len());
    let end = begin.saturating_add(limit).min(items.len());
    let next = (end < items.len())
        .then(|| token.page.checked_add(1).map(|page| PageToken { limit: token.limit, page }))
        .flatten();
    (&items[begin..end], next)
}
