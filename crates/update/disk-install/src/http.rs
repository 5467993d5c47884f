//! Files from HTTP servers. A broken transfer is resumed where it ended.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;
use std::thread::sleep;
use std::time::Duration;

use release::Digest;
use update_worker::{redact_url, tls_config};
use ureq::http::Response;
use ureq::{Agent, Body, BodyReader};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest time without a byte.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest delay before another attempt. The first ones are shorter.
const MAX_PAUSE: Duration = Duration::from_secs(20);

/// Attempts without progress, after which a transfer fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// This number of further attempts.
    Limited(u32),
    /// No limit.
    Infinite,
}

impl FromStr for Retries {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "infinite" => Ok(Self::Infinite),
            number => number
                .parse()
                .map(Self::Limited)
                .map_err(|_| format!("{text:?} is neither a number nor `infinite`")),
        }
    }
}

/// Why a transfer failed. URLs are without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum FetchError {
    #[error("{url}: HTTP status {status}")]
    Status { url: String, status: u16 },
    #[error("{url}: {reason}")]
    Transport { url: String, reason: String },
    #[error("{url}: the response has more than {limit} bytes")]
    TooLong { url: String, limit: u64 },
    #[error("{url}: the file changed during the transfer; start again")]
    Changed { url: String },
    #[error("{url}: the server has {present} bytes, expected {expected}")]
    Length { url: String, present: u64, expected: u64 },
}

/// An HTTP client: the proxies of the environment, the system's certificates.
#[derive(Debug, Clone)]
pub struct Fetcher {
    agent: Agent,
    retries: Retries,
    /// Of the first repetition; doubled with each.
    pause: Duration,
}

impl Fetcher {
    /// `name` is sent as the user agent.
    #[must_use]
    pub fn new(name: &str, retries: Retries) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(name)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(READ_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .tls_config(tls_config());
        Self { agent: config.build().new_agent(), retries, pause: Duration::from_secs(1) }
    }

    /// Fetches a file of at most `limit` bytes.
    ///
    /// # Errors
    /// The last attempt's.
    pub fn get(&self, url: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        self.repeated(|| {
            let response = self.agent.get(url).call().map_err(|error| transport(url, &error))?;
            expect_status(url, &response, &[200])?;
            let mut bytes = Vec::new();
            let mut body = response.into_body().into_reader().take(limit + 1);
            body.read_to_end(&mut bytes).map_err(|error| transport(url, &error))?;
            if bytes.len() as u64 > limit {
                return Err(FetchError::TooLong { url: redact_url(url), limit });
            }
            Ok(bytes)
        })
    }

    /// Repeats a request while the failure may be temporary.
    fn repeated<T>(&self, request: impl Fn() -> Result<T, FetchError>) -> Result<T, FetchError> {
        let mut attempts = Attempts::new(self);
        loop {
            match request() {
                Err(error) if is_temporary(&error) && attempts.wait() => {}
                result => return result,
            }
        }
    }
}

/// Counts failed attempts.
#[derive(Debug)]
struct Attempts {
    retries: Retries,
    first_pause: Duration,
    failed: u32,
}

impl Attempts {
    fn new(fetcher: &Fetcher) -> Self {
        Self { retries: fetcher.retries, first_pause: fetcher.pause, failed: 0 }
    }

    /// Waits before another attempt; false if there must be none.
    fn wait(&mut self) -> bool {
        if matches!(self.retries, Retries::Limited(limit) if self.failed >= limit) {
            return false;
        }
        let factor = 1 << self.failed.min(10);
        sleep(self.first_pause.saturating_mul(factor).min(MAX_PAUSE));
        self.failed = self.failed.saturating_add(1);
        true
    }
}

/// A file on a server. Length and digest, where known, come from a verified source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpImage {
    /// `http` or `https`.
    pub url: String,
    /// Its length.
    pub bytes: Option<u64>,
    /// Its digest.
    pub sha256: Option<Digest>,
}

impl HttpImage {
    /// Requests the file's length without its content, then opens it. The transfer starts with the first read.
    ///
    /// # Errors
    /// The file is unavailable, or has another length than expected.
    pub fn open(&self, fetcher: &Fetcher) -> Result<HttpReader, FetchError> {
        let url = &self.url;
        let (length, tag) = fetcher.repeated(|| {
            let response = fetcher.agent.head(url).call().map_err(|error| transport(url, &error))?;
            expect_status(url, &response, &[200])?;
            let length = header(&response, "content-length").and_then(|length| length.parse::<u64>().ok());
            // A weak tag does not promise the same bytes.
            let tag = header(&response, "etag").filter(|tag| !tag.starts_with("W/"));
            Ok((length, tag))
        })?;
        if let (Some(present), Some(expected)) = (length, self.bytes)
            && present != expected
        {
            return Err(FetchError::Length { url: redact_url(url), present, expected });
        }
        Ok(HttpReader {
            fetcher: fetcher.clone(),
            url: url.clone(),
            length: self.bytes.or(length),
            tag,
            at: 0,
            body: None,
            attempts: Attempts::new(fetcher),
        })
    }
}

/// Reads a file over several connections.
pub struct HttpReader {
    fetcher: Fetcher,
    url: String,
    length: Option<u64>,
    /// Identifies the file's content.
    tag: Option<String>,
    at: u64,
    body: Option<BodyReader<'static>>,
    attempts: Attempts,
}

impl fmt::Debug for HttpReader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("HttpReader").field("url", &redact_url(&self.url)).field("at", &self.at).finish()
    }
}

impl HttpReader {
    /// The file's length, if the server or the caller knows it.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    fn attempt(&mut self, into: &mut [u8]) -> Result<usize, FetchError> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.connect()?,
        };
        let rest = self.length.map_or(u64::MAX, |length| length.saturating_sub(self.at));
        let limit = usize::try_from(rest).unwrap_or(usize::MAX).min(into.len());
        let into = into.get_mut(..limit).unwrap_or_default();
        let read = body.read(into).map_err(|error| transport(&self.url, &error))?;
        if read == 0 && self.length.is_some() {
            let url = redact_url(&self.url);
            return Err(FetchError::Transport {
                url,
                reason: format!("the transfer ended after {} bytes", self.at),
            });
        }
        self.body = Some(body);
        Ok(read)
    }

    fn connect(&self) -> Result<BodyReader<'static>, FetchError> {
        let url = &self.url;
        let mut request = self.fetcher.agent.get(url);
        if self.at > 0 {
            request = request.header("range", format!("bytes={}-", self.at));
            if let Some(tag) = &self.tag {
                request = request.header("if-range", tag);
            }
        }
        let response = request.call().map_err(|error| transport(url, &error))?;
        expect_status(url, &response, &[200, 206])?;
        let is_part = response.status().as_u16() == 206;
        let range = header(&response, "content-range");
        let begins = format!("bytes {}-", self.at);
        let changed = || FetchError::Changed { url: redact_url(url) };
        if is_part != (self.at > 0) && (is_part || self.tag.is_some()) {
            return Err(changed());
        }
        if is_part && !range.is_some_and(|range| range.starts_with(&begins)) {
            return Err(changed());
        }
        let mut body = response.into_body().into_reader();
        if !is_part && self.at > 0 {
            // A server without ranges: the file's digest shows whether it is still the same.
            let skipped = io::copy(&mut body.by_ref().take(self.at), &mut io::sink());
            if skipped.map_err(|error| transport(url, &error))? != self.at {
                return Err(changed());
            }
        }
        Ok(body)
    }
}

impl Read for HttpReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() || self.length == Some(self.at) {
            return Ok(0);
        }
        loop {
            match self.attempt(into) {
                Ok(read) => {
                    self.at += read as u64;
                    self.attempts.failed = 0;
                    return Ok(read);
                }
                Err(error) if is_temporary(&error) && self.attempts.wait() => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

/// Whether another attempt may succeed.
fn is_temporary(error: &FetchError) -> bool {
    match error {
        FetchError::Status { status, .. } => *status >= 500 || matches!(status, 408 | 429),
        FetchError::Transport { .. } => true,
        FetchError::TooLong { .. } | FetchError::Changed { .. } | FetchError::Length { .. } => false,
    }
}

fn expect_status(url: &str, response: &Response<Body>, expected: &[u16]) -> Result<(), FetchError> {
    let status = response.status().as_u16();
    if expected.contains(&status) { Ok(()) } else { Err(FetchError::Status { url: redact_url(url), status }) }
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn transport(url: &str, error: &dyn std::error::Error) -> FetchError {
    FetchError::Transport { url: redact_url(url), reason: service::error::chain(error) }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
