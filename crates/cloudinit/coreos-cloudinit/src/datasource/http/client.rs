//! An HTTP client with retries (contract 5.1).
//!
//! Bodies are capped. A redirect from https to http is an error.

use std::time::{Duration, Instant};

use ureq::http::{Response, StatusCode, header::LOCATION};
use ureq::{Agent, Body};

use super::super::error::DatasourceError;
use super::super::retry::RetryPolicy;
use super::super::time_budget::TimeBudget;
use super::super::url::Url;
use super::agent::agent;
use crate::log::Log;

const MAX_ATTEMPTS: u32 = 15;
/// For optional items.
const OPTIONAL_ATTEMPTS: u32 = 3;
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// Timeout of one attempt, redirects included.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: u32 = 10;
/// Client errors worth a retry: request timeout and too many requests.
const TRANSIENT_STATUS: [u16; 2] = [408, 429];

/// Name and value. The value may be a secret: it must not be logged, nor follow a redirect to another server.
pub type Header<'a> = (&'a str, &'a str);

/// Why an attempt failed, and whether a retry may help.
enum Failure {
    Transient(String),
    Final(DatasourceError),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Put,
    Post,
}

#[derive(Clone, Copy)]
struct Request<'a> {
    method: Method,
    url: &'a Url,
    headers: &'a [Header<'a>],
    /// Of POST.
    content: &'a str,
    /// Maximum size of the response body, in bytes.
    limit: usize,
}

/// A client for one server, with one time budget.
pub struct Client {
    agent: Agent,
    attempts: u32,
    limit: Duration,
    budget: TimeBudget,
    log: Log,
}

impl Client {
    /// All requests together may take `limit`.
    ///
    /// # Errors
    /// The URL is invalid.
    pub fn new(url: &Url, retry: RetryPolicy, limit: Duration, log: &Log) -> Result<Self, DatasourceError> {
        url.check()?;
        let attempts = match retry {
            RetryPolicy::Retry => MAX_ATTEMPTS,
            RetryPolicy::Once => 1,
        };
        Ok(Self { agent: agent(url, log)?, attempts, limit, budget: TimeBudget::start(limit), log: *log })
    }

    /// The same client with fewer attempts.
    #[must_use]
    pub fn for_optional(&self) -> Self {
        let attempts = self.attempts.min(OPTIONAL_ATTEMPTS);
        Self { agent: self.agent.clone(), attempts, budget: self.budget.clone(), ..*self }
    }

    /// How much of the budget is used.
    pub fn elapsed(&self) -> Duration {
        self.limit.saturating_sub(self.budget.remaining())
    }

    /// # Errors
    /// The URL is invalid, not found, the body is too large, or every attempt failed.
    pub fn get(&self, url: &Url, headers: &[Header], limit: usize) -> Result<Vec<u8>, DatasourceError> {
        let request = Request { method: Method::Get, url, headers, content: "", limit };
        self.send_with_retries(request, &mut |wait| std::thread::sleep(wait))
    }

    /// Sends content, which a retry repeats.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn post(
        &self,
        url: &Url,
        headers: &[Header],
        content: &str,
        limit: usize,
    ) -> Result<Vec<u8>, DatasourceError> {
        let request = Request { method: Method::Post, url, headers, content, limit };
        self.send_with_retries(request, &mut |wait| std::thread::sleep(wait))
    }

    /// Sends an empty body.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn put(&self, url: &Url, headers: &[Header], limit: usize) -> Result<Vec<u8>, DatasourceError> {
        let request = Request { method: Method::Put, url, headers, content: "", limit };
        self.send_with_retries(request, &mut |wait| std::thread::sleep(wait))
    }

    fn send_with_retries(
        &self,
        request: Request,
        sleep: &mut dyn FnMut(Duration),
    ) -> Result<Vec<u8>, DatasourceError> {
        let mut wait = INITIAL_BACKOFF;
        for number in 1..=self.attempts {
            self.log.info(format!("Fetching data from {}. Attempt #{number}", request.url.redacted()));
            match self.budget.request(REQUEST_LIMIT, |deadline| self.attempt(request, deadline)) {
                Ok(body) => return Ok(body),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Transient(reason)) => {
                    self.log.warning(format!("Unable to fetch data: {reason}"));
                }
            }
            if number < self.attempts {
                if wait >= self.budget.remaining() {
                    return Err(DatasourceError::Slow(self.limit));
                }
                self.log.info(format!("Sleeping for {wait:?}..."));
                self.budget.wait(wait, sleep);
                wait = (wait * 2).min(MAX_BACKOFF);
            }
        }
        Err(DatasourceError::Retries(self.attempts))
    }

    fn attempt(&self, request: Request, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let mut current = request.url.clone();
        let mut headers = request.headers;
        for _ in 0..=MAX_REDIRECTS {
            let response = self
                .send(Request { url: &current, headers, ..request }, deadline)
                .map_err(|error| failure(&current, error))?;
            let status = response.status();
            if status.is_success() {
                return body(response, &current, request.limit);
            }
            let code = status.as_u16();
            let missing =
                || Failure::Final(DatasourceError::NotFound { url: current.redacted(), status: code });
            match (status, request.method) {
                (status, Method::Get) if is_redirect(status) => {
                    let next = location(&response, &current).ok_or_else(missing)?;
                    if current.is_encrypted() && !next.is_encrypted() {
                        return Err(unusable(&current, "it leads from https to http"));
                    }
                    if !next.is_same_server(&current) {
                        headers = &[];
                    }
                    current = next;
                }
                (status, method) if is_missing(status, method) => return Err(missing()),
                _ => return Err(Failure::Transient(format!("HTTP status {code}"))),
            }
        }
        Err(unusable(&current, "it is redirected too often"))
    }

    fn send(&self, request: Request, deadline: Instant) -> Result<Response<Body>, ureq::Error> {
        let timeout = Some(deadline.saturating_duration_since(Instant::now()));
        let Request { method, url, headers, content, .. } = request;
        let address = url.unredacted();
        match method {
            Method::Get => {
                let request = self.agent.get(&*address).config().timeout_global(timeout).build();
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).call()
            }
            Method::Put => {
                let request = self.agent.put(&*address).config().timeout_global(timeout).build();
                headers
                    .iter()
                    .fold(request, |request, (name, value)| request.header(*name, *value))
                    .send_empty()
            }
            Method::Post => {
                let request = self.agent.post(&*address).config().timeout_global(timeout).build();
                headers
                    .iter()
                    .fold(request, |request, (name, value)| request.header(*name, *value))
                    .send(content)
            }
        }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn is_missing(status: StatusCode, method: Method) -> bool {
    let code = status.as_u16();
    // Only GET follows redirects, and a server that does not implement another method is not retried.
    let is_refused = method != Method::Get && (is_redirect(status) || status == StatusCode::NOT_IMPLEMENTED);
    is_refused || (status.is_client_error() && !TRANSIENT_STATUS.contains(&code))
}

fn location(response: &Response<Body>, current: &Url) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    Some(current.join(location))
}

fn body(mut response: Response<Body>, url: &Url, limit: usize) -> Result<Vec<u8>, Failure> {
    let too_large = || Failure::Final(DatasourceError::TooLarge { path: url.redacted().into(), limit });
    // ureq's limit also rejects a body of exactly that size.
    let body = response.body_mut().with_config().limit(limit as u64 + 1).read_to_vec();
    match body {
        Ok(body) if body.len() > limit => Err(too_large()),
        Ok(body) => Ok(body),
        Err(ureq::Error::BodyExceedsLimit(_)) => Err(too_large()),
        Err(error) => Err(failure(url, error)),
    }
}

fn unusable(url: &Url, reason: &str) -> Failure {
    Failure::Final(DatasourceError::Url { url: url.redacted(), reason: reason.to_owned() })
}

/// Drops messages that may contain the URL, which may hold a password.
fn failure(url: &Url, error: ureq::Error) -> Failure {
    match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => unusable(url, "it is malformed"),
        error => Failure::Transient(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_the_maximum_and_attempts_are_limited() {
        let unused = loopback_port::reserve().unwrap();
        let url = Url::new(&format!("http://{unused}/"));
        let client =
            Client::new(&url, RetryPolicy::Retry, Duration::from_secs(120), &Log::from_environment())
                .unwrap();
        let request = Request { method: Method::Get, url: &url, headers: &[], content: "", limit: 1 };
        let mut waits = Vec::new();
        let error = client.send_with_retries(request, &mut |wait| waits.push(wait.as_millis())).unwrap_err();
        assert_eq!(error.to_string(), "Unable to fetch data. Maximum retries reached: 15");
        assert_eq!(waits[..7], [100, 200, 400, 800, 1600, 3200, 5000]);
        assert_eq!((waits.len(), waits[7..].iter().max()), (14, Some(&5000)));
        let error = client.for_optional().send_with_retries(request, &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "Unable to fetch data. Maximum retries reached: 3");
        let expired = Client { budget: TimeBudget::start(Duration::ZERO), ..client };
        let error =
            expired.send_with_retries(request, &mut |_| panic!("there is no time to wait")).unwrap_err();
        assert_eq!(error.to_string(), "Unable to fetch data within 120s");
    }
}
