//! HTTP transfers, in children or in this process.

use std::io::{self, Read};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::http::{Client, HttpError, redact_url};
use crate::limits::{CONNECT_TIMEOUT, GRACE, MAX_REDIRECTS, MIN_RATE, REQUEST_TIMEOUT};
use crate::link::{Link, LinkError, Reply, Wait};
use crate::message::{Malformed, Reason, Refused, Request, Role};
use crate::process::{Isolation, Worker, WorkerError};

/// Time from a request for a range to its first byte: each redirect may take as long as a connection and a response.
const OPEN_TIMEOUT: Duration =
    Duration::from_secs((MAX_REDIRECTS as u64 + 1) * (CONNECT_TIMEOUT.as_secs() + MIN_RATE.1.as_secs()));

/// Transfers of one update check. Children are started when needed and end with it.
#[derive(Debug, Clone)]
pub struct Transfers(Arc<Inner>);

#[derive(Debug)]
enum Inner {
    Local(Client),
    Processes(Pool),
}

/// At most one idle child. A request while a body is read gets another one.
#[derive(Debug)]
struct Pool {
    program: PathBuf,
    idle: Mutex<Option<Worker>>,
}

impl Pool {
    fn take(&self) -> Result<Worker, WorkerError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        idle.filter(Worker::is_of_this_thread)
            .map_or_else(|| Worker::start(&self.program, Role::Transfer), Ok)
    }

    /// For a child whose last reply is complete.
    fn put_back(&self, worker: Worker) {
        let replaced = self.idle.lock().unwrap_or_else(PoisonError::into_inner).replace(worker);
        drop(replaced);
    }
}

impl Transfers {
    /// Starts no child yet.
    #[must_use]
    pub fn new(isolation: &Isolation) -> Self {
        Self(Arc::new(match isolation {
            Isolation::InProcess => Inner::Local(Client::new()),
            Isolation::Process(program) => {
                Inner::Processes(Pool { program: program.clone(), idle: Mutex::new(None) })
            }
        }))
    }

    /// Posts XML. `header`: a further one, `NAME: VALUE`. Returns a response of at most `limit` bytes.
    ///
    /// # Errors
    /// The request, or the child.
    pub fn post(
        &self,
        url: &str,
        header: Option<&str>,
        body: &str,
        limit: u64,
    ) -> Result<Vec<u8>, HttpError> {
        let (header, body) = (header.unwrap_or_default(), body.as_bytes());
        match &*self.0 {
            Inner::Local(client) => client
                .post(url, header, body, limit)
                .map_err(|refused| HttpError::refused(url, limit, refused)),
            Inner::Processes(pool) => pool.small(url, Request::Post { limit, url, header, body }, limit),
        }
    }

    /// Fetches a file of at most `limit` bytes.
    ///
    /// # Errors
    /// The request, or the child.
    pub fn get(&self, url: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
        match &*self.0 {
            Inner::Local(client) => {
                client.get(url, limit).map_err(|refused| HttpError::refused(url, limit, refused))
            }
            Inner::Processes(pool) => pool.small(url, Request::Get { limit, url }, limit),
        }
    }

    /// Opens a range of a file. `cancelled` ends waiting for the server.
    ///
    /// # Errors
    /// The request, or the child.
    pub fn range<'a>(
        &'a self,
        url: &str,
        range: &Range<u64>,
        cancelled: &'a (dyn Fn() -> bool + Sync),
    ) -> Result<Body<'a>, HttpError> {
        match &*self.0 {
            Inner::Local(client) => {
                let body = client.range(url, range).map_err(|refused| HttpError::refused(url, 0, refused))?;
                Ok(Body(Source::Local(Box::new(body))))
            }
            Inner::Processes(pool) => pool.range(url, range, cancelled),
        }
    }
}

impl Pool {
    fn small(&self, url: &str, request: Request<'_>, limit: u64) -> Result<Vec<u8>, HttpError> {
        let failed = |source| HttpError::Worker { url: redact_url(url), source };
        let mut worker = self.take().map_err(failed)?;
        let wait = Wait::new(REQUEST_TIMEOUT + GRACE, &|| false);
        let sent = request.to_bytes().map_err(LinkError::from);
        let sent = sent.and_then(|request| worker.link.send(&request, wait));
        match sent.and_then(|()| read_body(&mut worker.link, limit, wait)) {
            Ok(outcome) => {
                self.put_back(worker);
                outcome.map_err(|refused| HttpError::refused(url, limit, refused))
            }
            Err(error) => Err(failed(worker.explain(error))),
        }
    }

    fn range<'a>(
        &'a self,
        url: &str,
        range: &Range<u64>,
        cancelled: &'a (dyn Fn() -> bool + Sync),
    ) -> Result<Body<'a>, HttpError> {
        let failed = |source| HttpError::Worker { url: redact_url(url), source };
        let mut worker = self.take().map_err(failed)?;
        let wait = Wait::new(OPEN_TIMEOUT + GRACE, cancelled);
        let request = Request::Range { start: range.start, end: range.end, url };
        let sent = request.to_bytes().map_err(LinkError::from);
        let sent = sent.and_then(|request| worker.link.send(&request, wait));
        let mut rest = RangeReader::new(range.end.saturating_sub(range.start));
        match sent.and_then(|()| rest.next(&mut worker.link, wait)) {
            Ok(None) => {
                let worker = Some(worker);
                Ok(Body(Source::Worker { pool: self, worker, rest, cancelled }))
            }
            Ok(Some(refused)) => {
                self.put_back(worker);
                Err(HttpError::refused(url, 0, refused))
            }
            Err(error) => Err(failed(worker.explain(error))),
        }
    }
}

/// Reads the reply to a request for a small body of at most `limit` bytes.
pub(crate) fn read_body(
    link: &mut Link,
    limit: u64,
    wait: Wait<'_>,
) -> Result<Result<Vec<u8>, Refused>, LinkError> {
    let mut body = Vec::new();
    loop {
        match link.body_reply(wait)? {
            Reply::Data(length) => {
                if body.len() as u64 + length as u64 > limit {
                    return Err(Malformed("a longer body than requested").into());
                }
                let start = body.len();
                body.resize(start + length, 0);
                link.read_exact(&mut body[start..], wait)?;
            }
            Reply::Refused(refused) => return Ok(Err(refused)),
            Reply::End | Reply::Invalid => return Ok(Ok(body)),
        }
    }
}

/// The reply to a request for a range.
#[derive(Debug)]
pub(crate) struct RangeReader {
    /// Bytes that the child may send.
    left: u64,
    /// Bytes of the current message.
    message: usize,
    ended: bool,
}

impl RangeReader {
    pub(crate) fn new(left: u64) -> Self {
        Self { left, message: 0, ended: false }
    }

    /// Waits for the next message, if the last one is read.
    fn next(&mut self, link: &mut Link, wait: Wait<'_>) -> Result<Option<Refused>, LinkError> {
        if self.message > 0 || self.ended {
            return Ok(None);
        }
        match link.body_reply(wait)? {
            Reply::Data(length) if length as u64 <= self.left => {
                self.message = length;
                self.left -= length as u64;
            }
            Reply::Data(_) => return Err(Malformed("a longer range than requested").into()),
            Reply::End | Reply::Invalid => self.ended = true,
            Reply::Refused(refused) => {
                self.ended = true;
                return Ok(Some(refused));
            }
        }
        Ok(None)
    }

    /// 0: the body ended, complete or not.
    pub(crate) fn read(
        &mut self,
        link: &mut Link,
        into: &mut [u8],
        wait: Wait<'_>,
    ) -> Result<Result<usize, Refused>, LinkError> {
        if let Some(refused) = self.next(link, wait)? {
            return Ok(Err(refused));
        }
        if self.ended || into.is_empty() {
            return Ok(Ok(0));
        }
        let limit = self.message.min(into.len());
        let read = link.read(&mut into[..limit], wait)?;
        self.message -= read;
        if self.message == 0 && self.left == 0 {
            // The end follows the last byte at once: then the child can be used again.
            return Ok(self.next(link, wait)?.map_or(Ok(read), Err));
        }
        Ok(Ok(read))
    }
}

/// The body of a range.
pub struct Body<'a>(Source<'a>);

enum Source<'a> {
    Local(Box<dyn Read + 'a>),
    Worker {
        pool: &'a Pool,
        worker: Option<Worker>,
        rest: RangeReader,
        cancelled: &'a (dyn Fn() -> bool + Sync),
    },
}

impl Read for Body<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (pool, worker, rest, cancelled) = match &mut self.0 {
            Source::Local(body) => return body.read(into),
            Source::Worker { pool, worker, rest, cancelled } => (pool, worker, rest, *cancelled),
        };
        let Some(mut used) = worker.take() else { return Ok(0) };
        match rest.read(&mut used.link, into, Wait::new(MIN_RATE.1 + GRACE, cancelled)) {
            Ok(outcome) => {
                if rest.ended {
                    pool.put_back(used);
                } else {
                    *worker = Some(used);
                }
                outcome.map_err(|refused| match refused {
                    Refused::Failed { reason: Reason::Transport, text } => io::Error::other(text),
                    _ => io::Error::other("an unexpected end of the body"),
                })
            }
            Err(error) => Err(io::Error::other(used.explain(error))),
        }
    }
}
