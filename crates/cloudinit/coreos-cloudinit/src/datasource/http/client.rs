//! Asks for one URL, again and again while that may help (contract 5.1).
//!
//! Bodies are capped. What is encrypted stays so: a redirect from https to http is an error.

use std::time::{Duration, Instant};

use ureq::http::{Response, StatusCode, header::LOCATION};
use ureq::{Agent, Body};

use super::super::error::DatasourceError;
use super::super::pace::Countdown;
use super::super::patience::Patience;
use super::super::url::Url;
use super::agent::agent;
use crate::log::Log;

const MAX_ATTEMPTS: u32 = 15;
/// For what one can do without.
const HASTY_ATTEMPTS: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// One attempt, with all its redirects.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: u32 = 10;
/// Answers that are no success, and yet may become one: request timeout and too many requests.
const TRANSIENT_STATUS: [u16; 2] = [408, 429];

/// Name and value. It may be a secret: it never reaches a log, nor another server than was meant.
pub type Header<'a> = (&'a str, &'a str);

/// Why one attempt failed, and whether another one may do better.
enum Failure {
    Transient(String),
    Final(DatasourceError),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Put,
}

/// What is asked.
#[derive(Clone, Copy)]
struct Question<'a> {
    method: Method,
    url: &'a Url,
    headers: &'a [Header<'a>],
    /// Bytes of the answer's body.
    limit: usize,
}

/// Asks one server, for one purpose.
pub struct Client {
    agent: Agent,
    attempts: u32,
    limit: Duration,
    left: Countdown,
    log: Log,
}

impl Client {
    /// For all that is asked there is the time of `limit`.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub fn new(url: &Url, patience: Patience, limit: Duration, log: &Log) -> Result<Self, DatasourceError> {
        url.check()?;
        let attempts = match patience {
            Patience::Wait => MAX_ATTEMPTS,
            Patience::AskOnce => 1,
        };
        Ok(Self { agent: agent(url, log)?, attempts, limit, left: Countdown::start(limit), log: *log })
    }

    /// The same, which gives up sooner.
    #[must_use]
    pub fn hasty(&self) -> Self {
        let attempts = self.attempts.min(HASTY_ATTEMPTS);
        Self { agent: self.agent.clone(), attempts, left: self.left.clone(), ..*self }
    }

    /// Of its time.
    pub fn spent(&self) -> Duration {
        self.limit.saturating_sub(self.left.left())
    }

    /// # Errors
    /// It cannot be used, is not there, is too large, or every attempt failed.
    pub fn get(&self, url: &Url, headers: &[Header], limit: usize) -> Result<Vec<u8>, DatasourceError> {
        let question = Question { method: Method::Get, url, headers, limit };
        self.ask(question, &mut |wait| std::thread::sleep(wait))
    }

    /// Without a body.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn put(&self, url: &Url, headers: &[Header], limit: usize) -> Result<Vec<u8>, DatasourceError> {
        let question = Question { method: Method::Put, url, headers, limit };
        self.ask(question, &mut |wait| std::thread::sleep(wait))
    }

    fn ask(&self, question: Question, sleep: &mut dyn FnMut(Duration)) -> Result<Vec<u8>, DatasourceError> {
        let mut wait = FIRST_WAIT;
        for number in 1..=self.attempts {
            self.log.info(format!("Fetching data from {}. Attempt #{number}", question.url.shown()));
            match self.left.request(REQUEST_LIMIT, |end| self.attempt(question, end)) {
                Ok(body) => return Ok(body),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Transient(reason)) => {
                    self.log.warning(format!("Unable to fetch data: {reason}"));
                }
            }
            if number < self.attempts {
                if wait >= self.left.left() {
                    return Err(DatasourceError::Slow(self.limit));
                }
                self.log.info(format!("Sleeping for {wait:?}..."));
                self.left.wait(wait, sleep);
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
        Err(DatasourceError::Retries(self.attempts))
    }

    fn attempt(&self, question: Question, end: Instant) -> Result<Vec<u8>, Failure> {
        let mut hop = question.url.clone();
        let mut headers = question.headers;
        for _ in 0..=MAX_REDIRECTS {
            let response =
                self.send(question.method, &hop, headers, end).map_err(|error| failure(&hop, error))?;
            let status = response.status();
            if status.is_success() {
                return body(response, &hop, question.limit);
            }
            let code = status.as_u16();
            let missing = || Failure::Final(DatasourceError::NotFound { url: hop.shown(), status: code });
            match (status, question.method) {
                (status, Method::Get) if is_redirect(status) => {
                    let next = location(&response, &hop).ok_or_else(missing)?;
                    if hop.is_encrypted() && !next.is_encrypted() {
                        return Err(unusable(&hop, "it leads from https to http"));
                    }
                    if !next.is_same_server(&hop) {
                        headers = &[];
                    }
                    hop = next;
                }
                (status, method) if is_missing(status, method) => return Err(missing()),
                _ => return Err(Failure::Transient(format!("HTTP status {code}"))),
            }
        }
        Err(unusable(&hop, "it is redirected too often"))
    }

    fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &[Header],
        end: Instant,
    ) -> Result<Response<Body>, ureq::Error> {
        let rest = Some(end.saturating_duration_since(Instant::now()));
        let address = url.secret();
        match method {
            Method::Get => {
                let request = self.agent.get(&*address).config().timeout_global(rest).build();
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).call()
            }
            Method::Put => {
                let request = self.agent.put(&*address).config().timeout_global(rest).build();
                headers
                    .iter()
                    .fold(request, |request, (name, value)| request.header(*name, *value))
                    .send_empty()
            }
        }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn is_missing(status: StatusCode, method: Method) -> bool {
    let code = status.as_u16();
    // Only GET is redirected, and a server that knows no PUT will not learn it.
    let is_refused = method == Method::Put && (is_redirect(status) || status == StatusCode::NOT_IMPLEMENTED);
    is_refused || (status.is_client_error() && !TRANSIENT_STATUS.contains(&code))
}

fn location(response: &Response<Body>, hop: &Url) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    Some(hop.join(location))
}

fn body(mut response: Response<Body>, url: &Url, limit: usize) -> Result<Vec<u8>, Failure> {
    let too_large = || Failure::Final(DatasourceError::TooLarge { path: url.shown().into(), limit });
    // The library refuses a body that has just as much as it may.
    let body = response.body_mut().with_config().limit(limit as u64 + 1).read_to_vec();
    match body {
        Ok(body) if body.len() > limit => Err(too_large()),
        Ok(body) => Ok(body),
        Err(ureq::Error::BodyExceedsLimit(_)) => Err(too_large()),
        Err(error) => Err(failure(url, error)),
    }
}

fn unusable(url: &Url, reason: &str) -> Failure {
    Failure::Final(DatasourceError::Url { url: url.shown(), reason: reason.to_owned() })
}

/// Never passes on a message that may hold the URL, as the URL may hold a password.
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
    fn waits_double_up_to_the_longest_and_attempts_end() {
        let nobody = loopback_port::reserve().unwrap();
        let url = Url::new(&format!("http://{nobody}/"));
        let client =
            Client::new(&url, Patience::Wait, Duration::from_secs(120), &Log::from_environment()).unwrap();
        let question = Question { method: Method::Get, url: &url, headers: &[], limit: 1 };
        let mut waits = Vec::new();
        let error = client.ask(question, &mut |wait| waits.push(wait.as_millis())).unwrap_err();
        assert_eq!(error.to_string(), "Unable to fetch data. Maximum retries reached: 15");
        assert_eq!(waits[..7], [100, 200, 400, 800, 1600, 3200, 5000]);
        assert_eq!((waits.len(), waits[7..].iter().max()), (14, Some(&5000)));
        let error = client.hasty().ask(question, &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "Unable to fetch data. Maximum retries reached: 3");
        let late = Client { left: Countdown::start(Duration::ZERO), ..client };
        let error = late.ask(question, &mut |_| panic!("there is no time to wait")).unwrap_err();
        assert_eq!(error.to_string(), "Unable to fetch data within 120s");
    }
}
