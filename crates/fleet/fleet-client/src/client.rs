//! The client: one connection to one server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_api::{BODY_BYTES, ErrorDocument};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::sync::Mutex;

use crate::dial::{Dial, connect_tls};
use crate::endpoint::{Endpoint, Transport};
use crate::error::Error;

/// Receives method, URL and body of a request.
pub type TraceFn = dyn Fn(&str, &str, &str) + Send + Sync;

/// Called for each request.
#[derive(Clone)]
pub struct Trace(pub Arc<TraceFn>);

impl fmt::Debug for Trace {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Trace")
    }
}

type Sender = SendRequest<Full<Bytes>>;

/// A client of one server. Concurrent calls are sent one after the other, except streams.
pub struct Client {
    endpoint: Endpoint,
    dial: Arc<dyn Dial>,
    /// Required for https endpoints.
    tls: Option<Arc<ClientConfig>>,
    /// Timeout of a request, including the connect.
    timeout: Duration,
    trace: Option<Trace>,
    idle: Mutex<Option<Sender>>,
}

/// A streamed response body.
pub struct Body(Incoming);

impl Body {
    /// The next chunk; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            match self.0.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    // Trailers are ignored.
                    Err(_) => continue,
                },
                Err(error) => return Some(Err(error.to_string())),
            }
        }
    }
}

/// A request that has not been sent.
pub(crate) struct Call {
    pub method: Method,
    /// Starts with a slash.
    pub target: String,
    pub body: Option<String>,
}

impl Client {
    /// Does not connect yet.
    pub fn new(
        endpoint: Endpoint,
        dial: Arc<dyn Dial>,
        tls: Option<Arc<ClientConfig>>,
        timeout: Duration,
        trace: Option<Trace>,
    ) -> Client {
        Client { endpoint, dial, tls, timeout, trace, idle: Mutex::new(None) }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The body of a good answer.
    pub(crate) async fn fetch(&self, call: &Call) -> Result<Bytes, Error> {
        let exchange = async {
            let mut idle = self.idle.lock().await;
            let (response, sender) = self.send(idle.take(), call).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, BODY_BYTES).collect().await.map_err(|error| error.to_string())?;
            *idle = Some(sender);
            Ok((head.status.as_u16(), body.to_bytes()))
        };
        let response =
            tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(|_| Err(timed_out()));
        let (code, body) = response.map_err(|cause| self.transport_error(call, cause))?;
        if code / 100 == 2 { Ok(body) } else { Err(response_error(code, &body)) }
    }

    /// Streams a response body over a separate connection, without a timeout after the headers.
    pub(crate) async fn open(&self, call: &Call) -> Result<Body, Error> {
        let response = tokio::time::timeout(self.timeout, self.send(None, call)).await;
        let response = response.unwrap_or_else(|_| Err(timed_out()));
        let (response, _) = response.map_err(|cause| self.transport_error(call, cause))?;
        let code = response.status().as_u16();
        if code / 100 == 2 {
            return Ok(Body(response.into_body()));
        }
        let body = Limited::new(response.into_body(), BODY_BYTES).collect().await;
        let body = body.map_err(|error| self.transport_error(call, error.to_string()))?.to_bytes();
        Err(response_error(code, &body))
    }

    fn transport_error(&self, call: &Call, cause: String) -> Error {
        // Go's errors name methods as in `Get`.
        let (first, rest) = call.method.as_str().split_at(1);
        Error::Transport {
            method: format!("{first}{}", rest.to_lowercase()),
            url: self.endpoint.address(&call.target),
            cause,
        }
    }

    async fn send(&self, idle: Option<Sender>, call: &Call) -> Result<(Response<Incoming>, Sender), String> {
        if let Some(Trace(trace)) = &self.trace {
            let body = call.body.as_deref().unwrap_or_default();
            trace(call.method.as_str(), &self.endpoint.address(&call.target), body);
        }
        if let Some(mut sender) = idle
            && sender.ready().await.is_ok()
        {
            match sender.try_send_request(self.request(call)?).await {
                Ok(response) => return Ok((response, sender)),
                // The request is returned if it was not sent, as the server had closed the connection.
                Err(mut error) => match error.take_message() {
                    Some(_) => {}
                    None => return Err(describe(&error.into_error())),
                },
            }
        }
        let mut sender = self.connect().await?;
        let response = sender.send_request(self.request(call)?).await.map_err(|error| describe(&error))?;
        Ok((response, sender))
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(self.endpoint.target(&call.target))
            .header(HOST, self.endpoint.authority());
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(call.body.clone().unwrap_or_default()));
        request.body(body).map_err(|error| error.to_string())
    }

    async fn connect(&self) -> Result<Sender, String> {
        let mut stream = self.dial.dial(&self.endpoint.transport).await?;
        if let Transport::Tls { host, .. } = &self.endpoint.transport {
            let config = self.tls.clone().ok_or("tls: not set up")?;
            stream = connect_tls(stream, host, config).await?;
        }
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| describe(&error))?;
        // Ends with the sender, which also reports its errors.
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn timed_out() -> String {
    "net/http: request canceled (Client.Timeout exceeded while awaiting headers)".to_owned()
}

fn describe(error: &hyper::Error) -> String {
    use std::error::Error as _;
    if error.is_incomplete_message() || error.is_closed() {
        return "EOF".to_owned();
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn response_error(code: u16, body: &[u8]) -> Error {
    match serde_json::from_slice::<ErrorDocument>(body) {
        Ok(ErrorDocument { error }) if !error.message.is_empty() => {
            Error::Refused { code: error.code, message: error.message }
        }
        _ => Error::Status { code, body: String::from_utf8_lossy(body).into_owned() },
    }
}
