//! A member as an upstream of the proxy, with its idle connections.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::limits;
use crate::server::Payload;
use crate::tls::ClientTls;

/// Connection settings.
#[derive(Clone, Debug)]
pub struct Dial {
    pub dial_timeout: Duration,
    /// Timeout of a member that does not read; 0 disables it.
    pub write_timeout: Duration,
    /// Timeout of a response's head; 0 disables it. Bodies have none, since they may be watches.
    pub read_timeout: Duration,
    /// For https URLs.
    pub tls: Option<Arc<ClientTls>>,
}

/// Why a request to a member failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamError {
    #[error("{url} is no http or https URL with a host")]
    Url { url: String },
    #[error("{url} needs TLS, and no trusted CA is configured")]
    NoTls { url: String },
    #[error("connecting to {url}")]
    Connect { url: String, source: io::Error },
    #[error("{url} is no name that a certificate can have")]
    Name { url: String, source: InvalidDnsNameError },
    #[error("{url} took too long")]
    TooSlow { url: String },
    #[error("asking {url}")]
    Http { url: String, source: hyper::Error },
}

/// A member's URL, idle connections, and time of its last failure.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) url: String,
    idle: Mutex<Vec<SendRequest<Payload>>>,
    failed: Mutex<Option<Instant>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upstream {
    pub(super) fn new(url: String) -> Upstream {
        Upstream { url, idle: Mutex::default(), failed: Mutex::default() }
    }

    pub(super) fn is_available(&self, wait: Duration) -> bool {
        lock(&self.failed).is_none_or(|at| at.elapsed() >= wait)
    }

    pub(super) fn mark_failed(&self) {
        *lock(&self.failed) = Some(Instant::now());
        lock(&self.idle).clear();
    }

    /// Sends a request. `make` may be called twice, since an idle connection may turn out to be closed.
    pub(super) async fn send(
        &self,
        dial: &Dial,
        make: impl Fn() -> Request<Payload>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        while let Some(mut sender) = self.idle_connection() {
            match self.with_timeout(dial.read_timeout, sender.try_send_request(make())).await? {
                Ok(response) => return Ok(self.keep(sender, response)),
                Err(mut error) => {
                    // Not sent: the member had closed this connection. Retry on another one.
                    if error.take_message().is_none() {
                        return Err(self.http(error.into_error()));
                    }
                }
            }
        }
        let mut sender = self.connect(dial).await?;
        let sent = self.with_timeout(dial.read_timeout, sender.send_request(make())).await?;
        sent.map(|response| self.keep(sender, response)).map_err(|source| self.http(source))
    }

    async fn with_timeout<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, UpstreamError> {
        if limit.is_zero() {
            return Ok(work.await);
        }
        timeout(limit, work).await.map_err(|_| UpstreamError::TooSlow { url: self.url.clone() })
    }

    fn http(&self, source: hyper::Error) -> UpstreamError {
        UpstreamError::Http { url: self.url.clone(), source }
    }

    fn idle_connection(&self) -> Option<SendRequest<Payload>> {
        let mut idle = lock(&self.idle);
        idle.retain(|sender| !sender.is_closed());
        let ready = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    /// Reuses a connection if its response has a known length. Other responses may be watches.
    fn keep(&self, sender: SendRequest<Payload>, response: Response<Incoming>) -> Response<Incoming> {
        let mut idle = lock(&self.idle);
        if response.body().size_hint().exact().is_some() && idle.len() < limits::MAX_PROXY_IDLE_CONNECTIONS {
            idle.push(sender);
        }
        response
    }

    async fn connect(&self, dial: &Dial) -> Result<SendRequest<Payload>, UpstreamError> {
        let opened = timeout(dial.dial_timeout, self.open(dial)).await;
        opened.map_err(|_| UpstreamError::TooSlow { url: self.url.clone() })?
    }

    async fn open(&self, dial: &Dial) -> Result<SendRequest<Payload>, UpstreamError> {
        let bad = || UpstreamError::Url { url: self.url.clone() };
        let failed = |source| UpstreamError::Connect { url: self.url.clone(), source };
        let url: Uri = self.url.parse().map_err(|_| bad())?;
        let host = url.host().ok_or_else(bad)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let secure = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad()),
        };
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let limit = Some(dial.write_timeout).filter(|limit| !limit.is_zero());
        SockRef::from(&stream).set_tcp_user_timeout(limit).map_err(failed)?;
        if !secure {
            return self.handshake(stream).await;
        }
        let tls = dial.tls.as_ref().ok_or_else(|| UpstreamError::NoTls { url: self.url.clone() })?;
        let name = ServerName::try_from(host)
            .map_err(|source| UpstreamError::Name { url: self.url.clone(), source })?;
        let stream = TlsConnector::from(tls.config()).connect(name, stream).await.map_err(failed)?;
        self.handshake(stream).await
    }

    async fn handshake<S>(&self, stream: S) -> Result<SendRequest<Payload>, UpstreamError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| self.http(source))?;
        let url = self.url.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%url, %error, "a connection to a member ended");
            }
        });
        Ok(sender)
    }
}

/// The body, which may be empty.
pub(super) fn payload(body: &Bytes) -> Payload {
    Payload::from(body.clone())
}
