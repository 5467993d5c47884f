//! Client configuration.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;

use crate::endpoint::{Endpoint, EndpointError};
use crate::limits;
use crate::tls::TlsFiles;

/// Credentials for HTTP basic authentication. `Debug` omits the password.
#[derive(Clone)]
pub struct Credentials {
    /// A user of etcd's auth.
    pub user: String,
    /// In plain text.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The order in which endpoints are tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// As configured.
    Configured,
    /// Starting at a random one, so that clients with equal lists use different members.
    #[default]
    Shuffled,
}

/// A request before it is sent.
pub struct TracedRequest<'a> {
    /// Upper case.
    pub method: &'a str,
    /// With the endpoint, path and query.
    pub url: &'a str,
    /// `None` if there is no body, or if it contains a password.
    pub body: Option<&'a str>,
    /// The body exists, and is omitted since it contains a password.
    pub body_is_secret: bool,
}

/// Called for each request.
#[derive(Clone)]
pub struct Trace(pub Arc<dyn Fn(&TracedRequest<'_>) + Send + Sync>);

impl fmt::Debug for Trace {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Trace")
    }
}

/// Reports an endpoint that has not responded within `after`, once per attempt. For interactive commands.
#[derive(Clone)]
pub struct SlowReport {
    /// Measured from the start of the attempt.
    pub after: Duration,
    /// Must not block.
    pub report: Arc<dyn Fn(&Endpoint) + Send + Sync>,
}

impl fmt::Debug for SlowReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("SlowReport").field("after", &self.after).finish_non_exhaustive()
    }
}

/// Replaces TCP by another transport to a host and port, such as an in-memory network. Without TLS.
#[derive(Clone)]
pub struct Dial(pub Arc<DialFunction>);

type DialFunction = dyn Fn(&str, u16) -> DialFuture + Send + Sync;

/// Completes with the connected stream.
pub type DialFuture = Pin<Box<dyn Future<Output = io::Result<DuplexStream>> + Send>>;

impl fmt::Debug for Dial {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Dial")
    }
}

/// How a [`Client`](crate::Client) reaches its cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// Without any, each request fails with [`Error::NoEndpoints`](crate::Error::NoEndpoints).
    pub endpoints: Vec<Endpoint>,
    /// Applies to the first request; later ones start at the endpoint that responded last.
    pub order: Order,
    /// `None` sends no `Authorization`.
    pub credentials: Option<Credentials>,
    /// For `https` endpoints.
    pub tls: TlsFiles,
    /// Timeout until the response head, including connecting.
    pub request_timeout: Duration,
    /// Timeout of all attempts of a request, including the response body. Not for watches.
    pub total_timeout: Duration,
    /// Whether a request that timed out is retried at the next endpoint. Otherwise it fails with
    /// [`Error::Undecided`](crate::Error::Undecided), and the next request starts at another endpoint.
    pub retry_after_timeout: bool,
    /// For options such as etcdctl's `--debug`.
    pub trace: Option<Trace>,
    /// `None` waits silently.
    pub slow: Option<SlowReport>,
    /// `None` uses TCP.
    pub dial: Option<Dial>,
}

impl Config {
    /// These endpoints, with etcdctl's defaults.
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

    /// As [`Self::new`], of URLs in text.
    ///
    /// # Errors
    /// One is malformed.
    pub fn of_urls(urls: &[String]) -> Result<Config, EndpointError> {
        urls.iter().map(|url| url.parse()).collect::<Result<_, _>>().map(Config::new)
    }
}
