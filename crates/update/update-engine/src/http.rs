//! HTTP client: small requests, and byte ranges that resume after a broken connection. Bytes arrive in a child process
//! ([`update_worker`]); retries and limits are here.

use std::io::{self, Read};
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use update_worker::{Body, HttpError, Isolation, MIN_RATE, Transfers};

use crate::throttle::Throttled;

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

/// Uses the proxies of the environment and the system's certificates.
#[derive(Clone)]
pub struct HttpClient {
    transfers: Transfers,
    started: Instant,
    pub retry: RetryPolicy,
    pub rate_limit: Option<u64>,
}

impl HttpClient {
    #[must_use]
    pub fn new(retry: RetryPolicy, rate_limit: Option<u64>, isolation: &Isolation) -> Self {
        Self { transfers: Transfers::new(isolation), started: Instant::now(), retry, rate_limit }
    }

    /// Posts XML. `header`: a further one, `NAME: VALUE`. Returns a response of at most `limit` bytes.
    pub fn post(
        &self,
        url: &str,
        header: Option<&str>,
        body: &str,
        limit: u64,
    ) -> Result<Vec<u8>, HttpError> {
        self.transfers.post(url, header, body, limit)
    }

    /// Fetches a file of at most `limit` bytes.
    pub fn get(&self, url: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
        self.transfers.get(url, limit)
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
}

/// Reads a range over several connections.
struct ResumingReader<'a> {
    http: &'a HttpClient,
    url: String,
    rest: Range<u64>,
    body: Option<Body<'a>>,
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
                let opened = self.http.transfers.range(&self.url, &self.rest, self.cancelled);
                opened.map_err(io::Error::other)?
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
