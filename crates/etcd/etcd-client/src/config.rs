//! What a client is made from.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;

use crate::endpoint::Endpoint;
use crate::limits;
use crate::tls::TlsFiles;

/// For HTTP basic authentication. `Debug` does not show the password.
#[derive(Clone)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Which endpoint is asked first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// The first one.
    Given,
    /// Any one, so that many clients with the same list do not all go to the same member.
    #[default]
    Shuffled,
}

/// A request as it is about to be sent.
pub struct Traced<'a> {
    pub method: &'a str,
    pub url: &'a str,
    /// `None` when there is no body, or when the body holds a password.
    pub body: Option<&'a str>,
    pub body_is_secret: bool,
}

/// Is told of each request.
#[derive(Clone)]
pub struct Trace(pub Arc<dyn Fn(&Traced<'_>) + Send + Sync>);

impl fmt::Debug for Trace {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Trace")
    }
}

/// Reports an endpoint that has not answered for the time `after`, once per attempt. For interactive commands.
#[derive(Clone)]
pub struct SlowReport {
    pub after: Duration,
    pub report: Arc<dyn Fn(&Endpoint) + Send + Sync>,
}

impl fmt::Debug for SlowReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("SlowReport").field("after", &self.after).finish_non_exhaustive()
    }
}

/// Opens plain connections in the place of TCP, to a host and a port: for networks in memory.
#[derive(Clone)]
pub struct Dial(pub Arc<DialFunction>);

type DialFunction = dyn Fn(&str, u16) -> Dialing + Send + Sync;

pub type Dialing = Pin<Box<dyn Future<Output = io::Result<DuplexStream>> + Send>>;

impl fmt::Debug for Dial {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Dial")
    }
}

#[derive(Debug, Clone)]
pub struct Config {
    pub endpoints: Vec<Endpoint>,
    pub order: Order,
    pub credentials: Option<Credentials>,
    pub tls: TlsFiles,
    /// Until the head of an answer has come, connecting included.
    pub request_timeout: Duration,
    /// For all attempts of one request together, with the body of the answer. Not for watches.
    pub total_timeout: Duration,
    /// Whether a request that timed out at one endpoint is retried at the next. Without, it fails with
    /// [`Error::Undecided`](crate::Error::Undecided), and the next request starts at another endpoint.
    pub retry_after_timeout: bool,
    pub trace: Option<Trace>,
    pub slow: Option<SlowReport>,
    pub dial: Option<Dial>,
}

impl Config {
    /// These endpoints, and etcdctl's defaults for everything else.
    pub fn new(endpoints: Vec<Endpoint>) -> Config {
        Config {
            endpoints,
            order: Order::default(),
            credentials: None,
            tls: TlsFiles::default(),
            request_timeout: limits::REQUEST_TIMEOUT,
            total_timeout: limits::TOTAL_TIMEOUT,
            retry_after_timeout: true,
            trace: None,
            slow: None,
            dial: None,
        }
    }
}
