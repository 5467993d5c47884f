//! HTTP: one question with an answer in memory, and blobs by ranges that go on where a connection broke.

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
const CONNECT: Duration = Duration::from_secs(30);
const REDIRECTS: u32 = 10;
/// A transfer that brings less than this in so long is broken off (the contract's 1.1.3).
const SLOW: (u64, Duration) = (900, Duration::from_secs(90));
/// All of a small answer.
const QUESTION: Duration = Duration::from_secs(120);
/// Of a body that is not what it should be, for the journal.
const SHOWN: usize = 200;

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Attempts at one transfer that bring nothing.
    pub attempts: u32,
    /// Between them.
    pub pause: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum WebError {
    #[error("{url}: HTTP status {status}{said}")]
    Status { url: String, status: u16, said: String },
    #[error("{url}")]
    Transport { url: String, source: Box<ureq::Error> },
    #[error("{url}: the server sends another part than was asked for")]
    Range { url: String },
    #[error("{url}: the answer has more than {limit} bytes")]
    TooLong { url: String, limit: u64 },
}

impl WebError {
    /// What the server answered instead of a file.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Transport { .. } | Self::Range { .. } | Self::TooLong { .. } => None,
        }
    }
}

/// Asks as the machine's environment says: proxies from it, the machine's own certificates.
#[derive(Clone)]
pub struct Web {
    agent: Agent,
    pub patience: Patience,
    pub rate_limit: Option<u64>,
}

impl Web {
    #[must_use]
    pub fn new(patience: Patience, rate_limit: Option<u64>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(REDIRECTS)
            .user_agent(concat!("update-agent/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SLOW.1))
            .timeout_per_read(Some(SLOW.1))
            .tls_config(encryption());
        Self { agent: config.build().new_agent(), patience, rate_limit }
    }

    /// Posts XML and reads the answer, which has at most `limit` bytes.
    pub fn post(&self, url: &str, body: &str, limit: u64) -> Result<Vec<u8>, WebError> {
        let request = self.agent.post(url).config().timeout_global(Some(QUESTION)).build();
        let answer = request.content_type("text/xml").send(body);
        whole(url, answer.map_err(|error| transport(url, error))?, limit)
    }

    /// A small file.
    pub fn get(&self, url: &str, limit: u64) -> Result<Vec<u8>, WebError> {
        let request = self.agent.get(url).config().timeout_global(Some(QUESTION)).build();
        whole(url, request.call().map_err(|error| transport(url, error))?, limit)
    }

    /// A part of a blob; a broken connection is made again from where it broke. `cancelled` is asked before each.
    pub fn range<'a>(
        &'a self,
        url: &str,
        range: Range<u64>,
        cancelled: &'a (dyn Fn() -> bool + Sync),
    ) -> Box<dyn Read + 'a> {
        let reader = Resuming {
            web: self,
            url: url.to_owned(),
            rest: range,
            body: None,
            failed: 0,
            window: (Instant::now(), 0),
            cancelled,
        };
        match self.rate_limit {
            Some(rate) => Box::new(Throttled::new(reader, rate)),
            None => Box::new(reader),
        }
    }

    fn open(&self, url: &str, range: &Range<u64>) -> Result<ureq::BodyReader<'static>, WebError> {
        let header = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let answer = self.agent.get(url).header("Range", header).call();
        let answer = answer.map_err(|error| transport(url, error))?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let begins = format!("bytes {}-", range.start);
        match answer.status().as_u16() {
            // A portal that wants a login answers every question with its page.
            _ if header("content-type").is_some_and(|kind| kind.starts_with("text/html")) => {
                return Err(refused(url, answer.status().as_u16(), answer.into_body()));
            }
            206 if header("content-range").is_none_or(|range| !range.starts_with(&begins)) => {
                return Err(WebError::Range { url: shown(url) });
            }
            206 => {}
            // All of it, from the beginning: of use only there.
            200 if range.start == 0 => {}
            status => return Err(refused(url, status, answer.into_body())),
        }
        Ok(answer.into_body().into_reader())
    }
}

fn whole(url: &str, answer: ureq::http::Response<Body>, limit: u64) -> Result<Vec<u8>, WebError> {
    let (head, mut body) = answer.into_parts();
    if head.status.as_u16() != 200 {
        return Err(refused(url, head.status.as_u16(), body));
    }
    // The library refuses a body that has just as much as it may.
    match body.with_config().limit(limit + 1).read_to_vec() {
        Ok(bytes) if bytes.len() as u64 <= limit => Ok(bytes),
        Ok(_) | Err(ureq::Error::BodyExceedsLimit(_)) => Err(WebError::TooLong { url: shown(url), limit }),
        Err(error) => Err(transport(url, error)),
    }
}

/// With the beginning of what the server, or a portal in between, had to say.
fn refused(url: &str, status: u16, body: Body) -> WebError {
    let mut text = Vec::new();
    // What cannot be read is not shown.
    drop(body.into_reader().take(SHOWN as u64).read_to_end(&mut text));
    let text: String = String::from_utf8_lossy(&text).split_whitespace().collect::<Vec<_>>().join(" ");
    let said = if text.is_empty() { text } else { format!(", saying: {text}") };
    WebError::Status { url: shown(url), status, said }
}

fn transport(url: &str, error: ureq::Error) -> WebError {
    WebError::Transport { url: shown(url), source: Box::new(error) }
}

/// Without a password, and without a query, which may hold a token.
fn shown(url: &str) -> String {
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

/// The authorities that the machine trusts; where they cannot be read none, and only http works.
fn encryption() -> TlsConfig {
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

/// A range that outlives its connections.
struct Resuming<'a> {
    web: &'a Web,
    url: String,
    rest: Range<u64>,
    body: Option<ureq::BodyReader<'static>>,
    /// Attempts since the last byte.
    failed: u32,
    /// When the window of the slowest allowed rate began, and what came in it.
    window: (Instant, u64),
    cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Resuming<'_> {
    fn attempt(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => {
                self.window = (Instant::now(), 0);
                self.web.open(&self.url, &self.rest).map_err(io::Error::other)?
            }
        };
        let most = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX).min(into.len());
        let read = body.read(&mut into[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.window.1 += read as u64;
        if self.window.0.elapsed() > SLOW.1 {
            if self.window.1 < SLOW.0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "hardly anything comes"));
            }
            self.window = (Instant::now(), 0);
        }
        self.body = Some(body);
        Ok(read)
    }
}

impl Read for Resuming<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() || into.is_empty() {
            return Ok(0);
        }
        loop {
            match self.attempt(into) {
                Ok(read) => {
                    self.rest.start += read as u64;
                    self.failed = 0;
                    return Ok(read);
                }
                Err(error) => {
                    self.failed += 1;
                    if self.failed >= self.web.patience.attempts || (self.cancelled)() {
                        return Err(error);
                    }
                    tracing::info!(%error, attempt = self.failed, "the transfer broke off, going on");
                    sleep(self.web.patience.pause);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_url_is_shown() {
        assert_eq!(shown("http://u:p@host:80/a/b?token=x#y"), "http://host:80/a/b");
        assert_eq!(shown("https://host"), "https://host");
        assert_eq!(shown("nonsense"), "nonsense");
    }
}
