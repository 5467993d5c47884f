//! What has to come with each request to a service.

use super::super::http::Header;

pub(super) struct Access {
    pub headers: &'static [Header<'static>],
    pub token: Option<TokenRules>,
}

/// A token that is asked for by PUT and sent with each request.
pub(super) struct TokenRules {
    pub path: &'static str,
    /// Of the request for the token.
    pub asked_with: Header<'static>,
    /// The header that carries the token.
    pub sent_as: &'static str,
}

/// Whoever asks is answered.
pub(super) const FREE: Access = Access { headers: &[], token: None };
