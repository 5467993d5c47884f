//! Questions to one service, with its headers and its token, within a time.

use std::time::Duration;

use cloudinit::limits::{MAX_METADATA_BYTES, MAX_RAW_BYTES};

use super::super::error::DatasourceError;
use super::super::http::{Client, Header};
use super::super::patience::Patience;
use super::super::url::Url;
use super::access::{Access, TokenRules};
use super::memory::{Memory, Token};
use crate::log::Log;

/// The units' own limit must not end a run that still has something to apply: there is one session to find the
/// service, which may take five minutes, one for the user-data, one for the metadata.
const LIMIT: Duration = Duration::from_secs(2 * 60);
const UNAUTHORIZED: u16 = 401;
const MAX_TOKEN_BYTES: usize = 4096;

pub(super) struct Session<'a> {
    access: &'static Access,
    base: &'a Url,
    client: Client,
    memory: &'a Memory,
    pub log: &'a Log,
}

impl<'a> Session<'a> {
    /// # Errors
    /// The URL cannot be used.
    pub fn start(
        access: &'static Access,
        base: &'a Url,
        memory: &'a Memory,
        patience: Patience,
        log: &'a Log,
    ) -> Result<Self, DatasourceError> {
        let client = Client::new(base, patience, LIMIT, log)?;
        Ok(Self { access, base, client, memory, log })
    }

    /// Asks for that by which the service is known, and keeps the answer.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn find(&self, path: &'static str) -> Result<(), DatasourceError> {
        let answer = self.get(path)?;
        self.memory.first.get_or_init(|| (path, answer));
        Ok(())
    }

    /// Empty if it is not there.
    ///
    /// # Errors
    /// The service does not answer, or with too much.
    pub fn item(&self, path: &str) -> Result<Vec<u8>, DatasourceError> {
        Ok(found(self.get(path))?.unwrap_or_default())
    }

    /// For items that one can do without: gives up soon.
    #[must_use]
    pub fn hasty(&self) -> Self {
        Self { client: self.client.hasty(), ..*self }
    }

    /// What cannot be had is left out and noted.
    pub fn spare(&self, what: &str, item: Result<Vec<u8>, DatasourceError>) -> Vec<u8> {
        item.unwrap_or_else(|error| {
            self.log.warning(format!("Warning: going on without {what}: {}", service::error::chain(&error)));
            Vec::new()
        })
    }

    /// `None` if it is not there.
    ///
    /// # Errors
    /// As [`Self::item`].
    pub fn user_data(&self, path: &str) -> Result<Option<Vec<u8>>, DatasourceError> {
        found(self.get_within(path, MAX_RAW_BYTES))
    }

    /// # Errors
    /// It is not there, the service does not answer, or with too much.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, DatasourceError> {
        self.get_within(path, MAX_METADATA_BYTES)
    }

    fn get_within(&self, path: &str, limit: usize) -> Result<Vec<u8>, DatasourceError> {
        if let Some((_, answer)) = self.memory.first.get().filter(|(known, _)| *known == path) {
            return Ok(answer.clone());
        }
        let url = self.base.below(path);
        match (self.get_once(&url, limit), &self.access.token) {
            (Err(DatasourceError::NotFound { status: UNAUTHORIZED, .. }), Some(_)) => {
                self.log.info("The token is not valid any more, asking for another one");
                self.memory.token.replace(Token::NotAsked);
                self.get_once(&url, limit)
            }
            (answer, _) => answer,
        }
    }

    fn get_once(&self, url: &Url, limit: usize) -> Result<Vec<u8>, DatasourceError> {
        let mut headers: Vec<Header> = self.access.headers.to_vec();
        let Some(rules) = &self.access.token else { return self.client.get(url, &headers, limit) };
        if matches!(*self.memory.token.borrow(), Token::NotAsked) {
            let token = self.ask_token(rules)?;
            self.memory.token.replace(token);
        }
        let token = self.memory.token.borrow();
        if let Token::Is(token) = &*token {
            headers.push((rules.sent_as, token));
        }
        self.client.get(url, &headers, limit)
    }

    fn ask_token(&self, rules: &TokenRules) -> Result<Token, DatasourceError> {
        let answer = self.client.put(&self.base.below(rules.path), &[rules.asked_with], MAX_TOKEN_BYTES);
        let token = match answer {
            Ok(token) => token,
            Err(DatasourceError::NotFound { .. }) => {
                self.log.info("The metadata service gives no tokens, going on without");
                return Ok(Token::None);
            }
            Err(DatasourceError::TooLarge { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let is_header = |token: &str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        match String::from_utf8(token.trim_ascii().to_vec()) {
            Ok(token) if is_header(&token) => Ok(Token::Is(token)),
            _ => {
                self.log
                    .warning("Warning: what the metadata service gives as token is none, going on without");
                Ok(Token::None)
            }
        }
    }
}

fn found(answer: Result<Vec<u8>, DatasourceError>) -> Result<Option<Vec<u8>>, DatasourceError> {
    match answer {
        Err(DatasourceError::NotFound { .. }) => Ok(None),
        answer => answer.map(Some),
    }
}
