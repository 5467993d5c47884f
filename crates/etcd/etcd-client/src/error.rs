//! Why a request has no good answer.

use std::fmt;

use crate::endpoint::Endpoint;

/// Why one endpoint was no use. The texts are those that etcd's own client made known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No connection: nothing was sent.
    #[error("{0}")]
    Connect(String),
    /// No connection within the timeout: nothing was sent.
    #[error("dial tcp {address}: i/o timeout")]
    ConnectTimeout { address: String },
    /// The other side's certificate, or ours, was not accepted: nothing was sent.
    #[error("tls: {0}")]
    Tls(String),
    /// The other side ended the handshake: with TLS 1.3 its word on our certificate comes after our first request.
    #[error("remote error: tls: {0}")]
    Alert(&'static str),
    #[error("client: endpoint {endpoint} exceeded header timeout")]
    HeaderTimeout { endpoint: String },
    #[error("client: etcd member {endpoint} has no leader")]
    NoLeader { endpoint: String },
    #[error("client: etcd member {endpoint} returns server error [{status}]")]
    Server { endpoint: String, status: String },
    #[error("client: too many redirects")]
    Redirects,
    #[error("client: {0}")]
    Redirect(&'static str),
    #[error("client: answer of {endpoint} is longer than {limit} bytes")]
    TooLong { endpoint: String, limit: usize },
    /// The connection broke, or what came is not HTTP.
    #[error("{0}")]
    Broken(String),
}

impl Reason {
    /// Whether it is certain that the server did not get the request.
    pub fn nothing_sent(&self) -> bool {
        matches!(self, Reason::Connect(_) | Reason::ConnectTimeout { .. } | Reason::Tls(_) | Reason::Alert(_))
    }

    /// Whether the endpoint did not respond in time.
    pub fn timed_out(&self) -> bool {
        matches!(self, Reason::ConnectTimeout { .. } | Reason::HeaderTimeout { .. })
    }
}

/// One endpoint that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub endpoint: Endpoint,
    pub reason: Reason,
}

impl fmt::Display for Attempt {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(to)
    }
}

/// Code 401 of the table of errors.
const CLEARED: u32 = 401;
const KEY_NOT_FOUND: u32 = 100;
const COMPARE_FAILED: u32 = 101;
const KEY_EXISTS: u32 = 105;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store refused. `index` is its index then.
    #[error("{code}: {message} ({cause}) [{index}]")]
    Api { code: u32, message: String, cause: String, index: u64 },
    /// Members, users, roles: refused, with a reason.
    #[error("{message}")]
    Refused { status: u16, message: String },
    /// No endpoint answered; each attempt with its reason.
    #[error("client: etcd cluster is unavailable or misconfigured")]
    Unavailable { attempts: Vec<Attempt> },
    /// Every endpoint ended the handshake, the first of them with this alert.
    #[error("remote error: tls: {alert}")]
    Alert { alert: &'static str },
    /// A request that must not be repeated was sent, and its answer did not come: a write may have been done.
    #[error("{attempt}")]
    Undecided { attempt: Box<Attempt> },
    /// The time for the whole request is over; what was tried until then.
    #[error("context deadline exceeded")]
    Deadline { attempts: Vec<Attempt> },
    #[error("client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint.")]
    InvalidJson { endpoint: Endpoint, problem: String },
    #[error("client: unexpected status code {status}")]
    Status { endpoint: Endpoint, status: u16 },
    #[error("client: no endpoints available")]
    NoEndpoints,
    /// A watch's connections end again and again without an event.
    #[error("client: {endpoint} closes watches without an event")]
    EmptyWatches { endpoint: Endpoint },
    #[error("client: {0}")]
    Request(&'static str),
}

impl Error {
    fn has_code(&self, wanted: u32) -> bool {
        matches!(self, Error::Api { code, .. } if *code == wanted)
    }

    pub fn is_key_not_found(&self) -> bool {
        self.has_code(KEY_NOT_FOUND)
    }

    pub fn is_compare_failed(&self) -> bool {
        self.has_code(COMPARE_FAILED)
    }

    pub fn is_key_exists(&self) -> bool {
        self.has_code(KEY_EXISTS)
    }

    /// A watch asked for events that the server has forgotten: read the keys again, and watch from the
    /// index of that answer on. Gives the store's index at the time of the refusal.
    pub fn cleared_history(&self) -> Option<u64> {
        match self {
            Error::Api { code: CLEARED, index, .. } => Some(*index),
            _ => None,
        }
    }

    /// The endpoints that were tried in vain.
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Error::Unavailable { attempts } | Error::Deadline { attempts } => attempts,
            Error::Undecided { attempt } => std::slice::from_ref(attempt),
            _ => &[],
        }
    }
}

/// The system's words for an error as Go writes them: without the number, in lower case.
pub(crate) fn error_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
