//! One connection to one server, and what is sent over it.

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

use crate::dial::{Dial, secured};
use crate::endpoint::{Endpoint, Transport};
use crate::error::Error;

/// Takes a request's method, address and body.
pub type Tell = dyn Fn(&str, &str, &str) + Send + Sync;

/// Is told of each request.
#[derive(Clone)]
pub struct Trace(pub Arc<Tell>);

impl fmt::Debug for Trace {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Trace")
    }
}

type Sender = SendRequest<Full<Bytes>>;

pub struct Client {
    endpoint: Endpoint,
    dial: Arc<dyn Dial>,
    /// Used where the endpoint asks for it.
    tls: Option<Arc<ClientConfig>>,
    /// For one request, connecting included.
    timeout: Duration,
    trace: Option<Trace>,
    idle: Mutex<Option<Sender>>,
}

/// An answer's body that is read as it comes.
pub struct Body(Incoming);

impl Body {
    /// `None` at its end.
    pub async fn next(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            match self.0.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    // Trailers say nothing here.
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
    /// Begins with a slash.
    pub target: String,
    pub body: Option<String>,
}

impl Client {
    /// Opens nothing yet.
    pub fn new(
        endpoint: Endpoint,
        dial: Arc<dyn Dial>,
        tls: Option<Arc<ClientConfig>>,
        timeout: Duration,
        trace: Option<Trace>,
    ) -> Client {
        Client { endpoint, dial, tls, timeout, trace, idle: Mutex::new(None) }
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The body of a good answer.
    pub(crate) async fn ask(&self, call: &Call) -> Result<Bytes, Error> {
        let asked = async {
            let mut idle = self.idle.lock().await;
            let (answer, sender) = self.send(idle.take(), call).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, BODY_BYTES).collect().await.map_err(|error| error.to_string())?;
            *idle = Some(sender);
            Ok((head.status.as_u16(), body.to_bytes()))
        };
        let answered = tokio::time::timeout(self.timeout, asked).await.unwrap_or_else(|_| Err(timed_out()));
        let (code, body) = answered.map_err(|cause| self.no_answer(call, cause))?;
        if code / 100 == 2 { Ok(body) } else { Err(refusal(code, &body)) }
    }

    /// A body that comes for as long as it takes, over a connection of its own.
    pub(crate) async fn open(&self, call: &Call) -> Result<Body, Error> {
        let asked = tokio::time::timeout(self.timeout, self.send(None, call)).await;
        let answered = asked.unwrap_or_else(|_| Err(timed_out()));
        let (answer, _) = answered.map_err(|cause| self.no_answer(call, cause))?;
        let code = answer.status().as_u16();
        if code / 100 == 2 {
            return Ok(Body(answer.into_body()));
        }
        let body = Limited::new(answer.into_body(), BODY_BYTES).collect().await;
        let body = body.map_err(|error| self.no_answer(call, error.to_string()))?.to_bytes();
        Err(refusal(code, &body))
    }

    fn no_answer(&self, call: &Call, cause: String) -> Error {
        // As Go's errors name methods: `Get`.
        let (first, rest) = call.method.as_str().split_at(1);
        Error::Transport {
            method: format!("{first}{}", rest.to_lowercase()),
            url: self.endpoint.address(&call.target),
            cause,
        }
    }

    async fn send(&self, idle: Option<Sender>, call: &Call) -> Result<(Response<Incoming>, Sender), String> {
        if let Some(Trace(tell)) = &self.trace {
            let body = call.body.as_deref().unwrap_or_default();
            tell(call.method.as_str(), &self.endpoint.address(&call.target), body);
        }
        if let Some(mut sender) = idle
            && sender.ready().await.is_ok()
        {
            match sender.try_send_request(self.request(call)?).await {
                Ok(answer) => return Ok((answer, sender)),
                // It comes back where nothing of it was sent: the server had closed the connection.
                Err(mut error) => match error.take_message() {
                    Some(_) => {}
                    None => return Err(words(&error.into_error())),
                },
            }
        }
        let mut sender = self.connect().await?;
        let answer = sender.send_request(self.request(call)?).await.map_err(|error| words(&error))?;
        Ok((answer, sender))
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
            stream = secured(stream, host, config).await?;
        }
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
        // It ends with the sender; what it has to say, the sender says too.
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn timed_out() -> String {
    "net/http: request canceled (Client.Timeout exceeded while awaiting headers)".to_owned()
}

fn words(error: &hyper::Error) -> String {
    use std::error::Error as _;
    if error.is_incomplete_message() || error.is_closed() {
        return "EOF".to_owned();
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn refusal(code: u16, body: &[u8]) -> Error {
    match serde_json::from_slice::<ErrorDocument>(body) {
        Ok(ErrorDocument { error }) if !error.message.is_empty() => {
            Error::Refused { code: error.code, message: error.message }
        }
        _ => Error::Status { code, body: String::from_utf8_lossy(body).into_owned() },
    }
}
