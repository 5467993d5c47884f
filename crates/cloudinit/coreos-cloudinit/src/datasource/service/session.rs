//! A session with one metadata service: headers, token, time limit.

use std::time::Duration;

use cloudinit::limits::{MAX_METADATA_BYTES, MAX_RAW_BYTES};

use super::super::error::DatasourceError;
use super::super::http::{Client, Header};
use super::super::retry::RetryPolicy;
use super::super::url::Url;
use super::access::{Access, TokenRules};
use super::cache::{Cache, Token};
use crate::log::Log;

/// A run has three sessions: the probe (five minutes), user-data and metadata. Their sum must stay below the
/// `TimeoutStartSec=` of the units, with time left to apply.
const LIMIT: Duration = Duration::from_secs(2 * 60);
const UNAUTHORIZED: u16 = 401;
const MAX_TOKEN_BYTES: usize = 4096;

pub(super) struct Session<'a> {
    access: &'static Access,
    base: &'a Url,
    client: Client,
    cache: &'a Cache,
    pub log: &'a Log,
}

impl<'a> Session<'a> {
    /// # Errors
    /// The URL is invalid.
    pub fn start(
        access: &'static Access,
        base: &'a Url,
        cache: &'a Cache,
        retry: RetryPolicy,
        log: &'a Log,
    ) -> Result<Self, DatasourceError> {
        let client = Client::new(base, retry, LIMIT, log)?;
        Ok(Self { access, base, client, cache, log })
    }

    /// Probes the service and caches the response.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn probe(&self, path: &'static str) -> Result<(), DatasourceError> {
        let answer = self.get(path)?;
        self.cache.probed.get_or_init(|| (path, answer));
        Ok(())
    }

    /// Empty if not found.
    ///
    /// # Errors
    /// The request fails, or the response is too large.
    pub fn item(&self, path: &str) -> Result<Vec<u8>, DatasourceError> {
        Ok(not_found_as_none(self.get(path))?.unwrap_or_default())
    }

    /// For optional items: fewer attempts.
    #[must_use]
    pub fn for_optional(&self) -> Self {
        Self { client: self.client.for_optional(), ..*self }
    }

    /// Logs a failure and returns an empty item.
    pub fn optional(&self, what: &str, item: Result<Vec<u8>, DatasourceError>) -> Vec<u8> {
        item.unwrap_or_else(|error| {
            self.log
                .warning(format!("Warning: continuing without {what}: {}", service::error::chain(&error)));
            Vec::new()
        })
    }

    /// `None` if not found.
    ///
    /// # Errors
    /// As [`Self::item`].
    pub fn user_data(&self, path: &str) -> Result<Option<Vec<u8>>, DatasourceError> {
        not_found_as_none(self.get_within(path, MAX_RAW_BYTES))
    }

    /// # Errors
    /// The item is not found, the request fails, or the response is too large.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, DatasourceError> {
        self.get_within(path, MAX_METADATA_BYTES)
    }

    fn get_within(&self, path: &str, limit: usize) -> Result<Vec<u8>, DatasourceError> {
        if let Some((_, answer)) = self.cache.probed.get().filter(|(path_probed, _)| *path_probed == path) {
            return Ok(answer.clone());
        }
        let url = self.base.append_path(path);
        match (self.get_once(&url, limit), &self.access.token) {
            (Err(DatasourceError::NotFound { status: UNAUTHORIZED, .. }), Some(_)) => {
                self.log.info("The token is not valid any more, asking for another one");
                self.cache.token.replace(Token::Unrequested);
                self.get_once(&url, limit)
            }
            (answer, _) => answer,
        }
    }

    fn get_once(&self, url: &Url, limit: usize) -> Result<Vec<u8>, DatasourceError> {
        let mut headers: Vec<Header> = self.access.headers.to_vec();
        let Some(rules) = &self.access.token else { return self.client.get(url, &headers, limit) };
        if matches!(*self.cache.token.borrow(), Token::Unrequested) {
            let token = self.request_token(rules)?;
            self.cache.token.replace(token);
        }
        let token = self.cache.token.borrow();
        if let Token::Value(token) = &*token {
            headers.push((rules.token_header, token));
        }
        self.client.get(url, &headers, limit)
    }

    fn request_token(&self, rules: &TokenRules) -> Result<Token, DatasourceError> {
        let answer =
            self.client.put(&self.base.append_path(rules.path), &[rules.request_header], MAX_TOKEN_BYTES);
        let token = match answer {
            Ok(token) => token,
            Err(DatasourceError::NotFound { .. }) => {
                self.log.info("The metadata service has no tokens, continuing without");
                return Ok(Token::Unsupported);
            }
            Err(DatasourceError::TooLarge { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let is_header = |token: &str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        match String::from_utf8(token.trim_ascii().to_vec()) {
            Ok(token) if is_header(&token) => Ok(Token::Value(token)),
            _ => {
                self.log.warning("Warning: the metadata service's token is invalid, continuing without");
                Ok(Token::Unsupported)
            }
        }
    }
}

fn not_found_as_none(answer: Result<Vec<u8>, DatasourceError>) -> Result<Option<Vec<u8>>, DatasourceError> {
    match answer {
        Err(DatasourceError::NotFound { .. }) => Ok(None),
        answer => answer.map(Some),
    }
}
