//! Errors of requests.

use std::fmt;

use crate::endpoint::Endpoint;

/// Why a request failed at one endpoint. The texts are those of etcd's own client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Reason {
    /// Connection failed; nothing was sent.
    #[error("{0}")]
    Connect(String),
    /// Connection timed out; nothing was sent.
    #[error("dial tcp {address}: i/o timeout")]
    ConnectTimeout { address: String },
    /// A certificate was rejected; nothing was sent.
    #[error("tls: {0}")]
    Tls(String),
    /// The server aborted the handshake. With TLS 1.3 it rejects a client certificate only after the first request.
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
    #[error("client: response of {endpoint} exceeds {limit} bytes")]
    TooLong { endpoint: String, limit: usize },
    /// The connection failed, or the response is not HTTP.
    #[error("{0}")]
    Broken(String),
}

impl Reason {
    /// Whether the server certainly did not receive the request.
    pub fn nothing_sent(&self) -> bool {
        matches!(self, Reason::Connect(_) | Reason::ConnectTimeout { .. } | Reason::Tls(_) | Reason::Alert(_))
    }

    /// Whether the endpoint did not respond in time.
    pub fn timed_out(&self) -> bool {
        matches!(self, Reason::ConnectTimeout { .. } | Reason::HeaderTimeout { .. })
    }
}

/// A failed attempt at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The endpoint that was tried.
    pub endpoint: Endpoint,
    /// Why it failed.
    pub reason: Reason,
}

impl fmt::Display for Attempt {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(to)
    }
}

/// Error codes of the keys API.
const CLEARED: u32 = 401;
const KEY_NOT_FOUND: u32 = 100;
const COMPARE_FAILED: u32 = 101;
const KEY_EXISTS: u32 = 105;

/// Why a request failed. The texts are those of etcd's own client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    /// An error of the keys API, with the store's index.
    #[error("{code}: {message} ({cause}) [{index}]")]
    Api { code: u32, message: String, cause: String, index: u64 },
    /// An error of the member, user and role APIs.
    #[error("{message}")]
    Refused { status: u16, message: String },
    /// All endpoints failed.
    #[error("client: etcd cluster is unavailable or misconfigured")]
    Unavailable { attempts: Vec<Attempt> },
    /// All endpoints aborted the TLS handshake; the first alert.
    #[error("remote error: tls: {alert}")]
    Alert { alert: &'static str },
    /// A non-idempotent request was sent without a response: it may have been executed.
    #[error("{attempt}")]
    Undecided { attempt: Box<Attempt> },
    /// The total timeout has elapsed; the attempts so far.
    #[error("context deadline exceeded")]
    Deadline { attempts: Vec<Attempt> },
    #[error("client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint.")]
    InvalidJson { endpoint: Endpoint, problem: String },
    #[error("client: unexpected status code {status}")]
    Status { endpoint: Endpoint, status: u16 },
    #[error("client: no endpoints available")]
    NoEndpoints,
    /// Repeatedly, connections of a watch ended without an event.
    #[error("client: {endpoint} closes watches without an event")]
    EmptyWatches { endpoint: Endpoint },
    #[error("client: {0}")]
    Request(&'static str),
}

impl Error {
    fn has_code(&self, wanted: u32) -> bool {
        matches!(self, Error::Api { code, .. } if *code == wanted)
    }

    /// Error 100 of the keys API.
    pub fn is_key_not_found(&self) -> bool {
        self.has_code(KEY_NOT_FOUND)
    }

    /// Error 101 of the keys API: the precondition does not hold.
    pub fn is_compare_failed(&self) -> bool {
        self.has_code(COMPARE_FAILED)
    }

    /// Error 105 of the keys API: a `create` of a key that exists.
    pub fn is_key_exists(&self) -> bool {
        self.has_code(KEY_EXISTS)
    }

    /// The server has cleared the events that a watch requested. Returns the store's index. Read the keys again, and
    /// watch from the index of that response.
    pub fn cleared_history(&self) -> Option<u64> {
        match self {
            Error::Api { code: CLEARED, index, .. } => Some(*index),
            _ => None,
        }
    }

    /// The failed attempts.
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Error::Unavailable { attempts } | Error::Deadline { attempts } => attempts,
            Error::Undecided { attempt } => std::slice::from_ref(attempt),
            _ => &[],
        }
    }

    /// The message, and the error of each endpoint where all failed: `MESSAGE; error #0: ATTEMPT; ...`.
    pub fn with_attempts(&self) -> String {
        let mut text = self.to_string();
        if let Error::Unavailable { attempts } | Error::Deadline { attempts } = self {
            for (number, attempt) in attempts.iter().enumerate() {
                text.push_str(&format!("; error #{number}: {attempt}"));
            }
        }
        text
    }
}

/// The message of an I/O error in Go's form: lower case, without the number.
pub(crate) fn error_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
