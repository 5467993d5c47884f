//! Headers and tokens that a metadata service requires.

use super::super::http::Header;

pub(super) struct Access {
    pub headers: &'static [Header<'static>],
    pub token: Option<TokenRules>,
}

/// A session token, requested with PUT and sent with each request.
pub(super) struct TokenRules {
    pub path: &'static str,
    /// Sent with the token request.
    pub request_header: Header<'static>,
    /// The header that carries the token.
    pub token_header: &'static str,
}

/// No authentication.
pub(super) const NO_AUTH: Access = Access { headers: &[], token: None };
