//! HTTP client: small requests, and byte ranges that resume after a broken connection.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use crate::throttle::Throttled;

const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
const CERTIFICATES_VARIABLE: &str = "SSL_CERT_FILE";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: u32 = 10;
/// Transfers of fewer bytes in this period are aborted (contract 1.1.3).
const MIN_RATE: (u64, Duration) = (900, Duration::from_secs(90));
/// Timeout of a small request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// Characters of an unexpected body to log.
const EXCERPT: usize = 200;

/// Retry policy of transfers.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Attempts without progress.
    pub attempts: u32,
    /// Delay between attempts.
    pub pause: Duration,
    /// Time for all transfers of a client, however fast they are. A slow server could otherwise keep a machine from
    /// asking again. The next attempt resumes.
    pub limit: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{url}: HTTP status {status}{body}")]
    Status { url: String, status: u16, body: String },
    #[error("{url}")]
    Transport { url: String, source: Box<ureq::Error> },
    #[error("{url}: the server sent another range than requested")]
    Range { url: String },
    #[error("{url}: the response has more than {limit} bytes")]
    TooLong { url: String, limit: u64 },
}

impl HttpError {
    /// The HTTP status of a failed request.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Transport { .. } | Self::Range { .. } | Self::TooLong { .. } => None,
        }
    }
}

/// Uses the proxies of the environment and the system's certificates.
#[derive(Clone)]
pub struct HttpClient {
    agent: Agent,
    started: Instant,
    pub retry: RetryPolicy,
    pub rate_limit: Option<u64>,
}

impl HttpClient {
    #[must_use]
    pub fn new(retry: RetryPolicy, rate_limit: Option<u64>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(MAX_REDIRECTS)
            .user_agent(concat!("update-agent/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(MIN_RATE.1))
            .timeout_per_read(Some(MIN_RATE.1))
            .tls_config(tls_config());
        Self { agent: config.build().new_agent(), started: Instant::now(), retry, rate_limit }
    }

    /// Posts XML, with a further header. Returns a response of at most `limit` bytes.
    pub fn post(
        &self,
        url: &str,
        body: &str,
        header: Option<(&str, &str)>,
        limit: u64,
    ) -> Result<Vec<u8>, HttpError> {
        let mut request = self.agent.post(url).config().timeout_global(Some(REQUEST_TIMEOUT)).build();
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let response = request.content_type("text/xml").send(body);
        read_body(url, response.map_err(|error| transport(url, error))?, limit)
    }

    /// Fetches a file of at most `limit` bytes.
    pub fn get(&self, url: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
        let request = self.agent.get(url).config().timeout_global(Some(REQUEST_TIMEOUT)).build();
        read_body(url, request.call().map_err(|error| transport(url, error))?, limit)
    }

    /// Reads a range of a file and resumes after errors. `cancelled` is called before each attempt.
    pub fn range<'a>(
        &'a self,
        url: &str,
        range: Range<u64>,
        cancelled: &'a (dyn Fn() -> bool + Sync),
    ) -> Box<dyn Read + 'a> {
        let reader = ResumingReader {
            http: self,
            url: url.to_owned(),
            rest: range,
            body: None,
            failed_attempts: 0,
            window: (Instant::now(), 0),
            cancelled,
        };
        match self.rate_limit {
            Some(rate) => Box::new(Throttled::new(reader, rate)),
            None => Box::new(reader),
        }
    }

    fn open(&self, url: &str, range: &Range<u64>) -> Result<ureq::BodyReader<'static>, HttpError> {
        let header = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let response = self.agent.get(url).header("Range", header).call();
        let response = response.map_err(|error| transport(url, error))?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let begins = format!("bytes {}-", range.start);
        match response.status().as_u16() {
            // A captive portal.
            _ if header("content-type").is_some_and(|kind| kind.starts_with("text/html")) => {
                return Err(status_error(url, response.status().as_u16(), response.into_body()));
            }
            206 if header("content-range").is_none_or(|range| !range.starts_with(&begins)) => {
                return Err(HttpError::Range { url: redact_url(url) });
            }
            206 => {}
            // The server ignores ranges: usable only from the start.
            200 if range.start == 0 => {}
            status => return Err(status_error(url, status, response.into_body())),
        }
        Ok(response.into_body().into_reader())
    }
}

fn read_body(url: &str, response: ureq::http::Response<Body>, limit: u64) -> Result<Vec<u8>, HttpError> {
    let (head, mut body) = response.into_parts();
    if head.status.as_u16() != 200 {
        return Err(status_error(url, head.status.as_u16(), body));
    }
    // ureq rejects a body of exactly the limit.
    match body.with_config().limit(limit + 1).read_to_vec() {
        Ok(bytes) if bytes.len() as u64 <= limit => Ok(bytes),
        Ok(_) | Err(ureq::Error::BodyExceedsLimit(_)) => {
            Err(HttpError::TooLong { url: redact_url(url), limit })
        }
        Err(error) => Err(transport(url, error)),
    }
}

/// The error for a status, with the beginning of the body.
fn status_error(url: &str, status: u16, body: Body) -> HttpError {
    let mut text = Vec::new();
    // Ignores a body that cannot be read.
    drop(body.into_reader().take(EXCERPT as u64).read_to_end(&mut text));
    let text: String = String::from_utf8_lossy(&text).split_whitespace().collect::<Vec<_>>().join(" ");
    let body = if text.is_empty() { text } else { format!(": {text}") };
    HttpError::Status { url: redact_url(url), status, body }
}

fn transport(url: &str, error: ureq::Error) -> HttpError {
    HttpError::Transport { url: redact_url(url), source: Box::new(error) }
}

/// Removes credentials and the query, which may contain a token.
fn redact_url(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url
        .split_once("://")
        .map(|(scheme, rest)| (scheme, rest.split_at(rest.find('/').unwrap_or(rest.len()))))
    {
        Some((scheme, (host, path))) => {
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

/// The system's certificate authorities. Without them only plain HTTP works.
fn tls_config() -> TlsConfig {
    let path = std::env::var(CERTIFICATES_VARIABLE).unwrap_or_else(|_| CERTIFICATES.to_owned());
    let pem = std::fs::read(&path).unwrap_or_default();
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(certificates.collect())))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

/// Reads a range over several connections.
struct ResumingReader<'a> {
    http: &'a HttpClient,
    url: String,
    rest: Range<u64>,
    body: Option<ureq::BodyReader<'static>>,
    /// Consecutive attempts without progress.
    failed_attempts: u32,
    /// Start of the period in which the rate is measured, and the bytes read in it.
    window: (Instant, u64),
    cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl ResumingReader<'_> {
    fn is_over_limit(&self) -> bool {
        self.http.started.elapsed() > self.http.retry.limit
    }

    fn attempt(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.is_over_limit() {
            let limit = self.http.retry.limit.as_secs();
            let message = format!("the transfer took longer than {limit} s; the next attempt resumes it");
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        let mut body = match self.body.take() {
            Some(body) => body,
            None => {
                self.window = (Instant::now(), 0);
                self.http.open(&self.url, &self.rest).map_err(io::Error::other)?
            }
        };
        let limit = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX).min(into.len());
        let read = body.read(&mut into[..limit])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.window.1 += read as u64;
        if self.window.0.elapsed() > MIN_RATE.1 {
            if self.window.1 < MIN_RATE.0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the transfer is too slow"));
            }
            self.window = (Instant::now(), 0);
        }
        self.body = Some(body);
        Ok(read)
    }
}

impl Read for ResumingReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() || into.is_empty() {
            return Ok(0);
        }
        loop {
            match self.attempt(into) {
                Ok(read) => {
                    self.rest.start += read as u64;
                    self.failed_attempts = 0;
                    return Ok(read);
                }
                Err(error) => {
                    self.failed_attempts += 1;
                    let is_final = self.failed_attempts >= self.http.retry.attempts || self.is_over_limit();
                    if is_final || (self.cancelled)() {
                        return Err(error);
                    }
                    tracing::info!(%error, attempt = self.failed_attempts, "the transfer was interrupted, resuming");
                    sleep(self.http.retry.pause);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_logged_without_secrets() {
        assert_eq!(redact_url("http://u:p@host:80/a/b?token=x#y"), "http://host:80/a/b");
        assert_eq!(redact_url("https://host"), "https://host");
        assert_eq!(redact_url("nonsense"), "nonsense");
    }
}
