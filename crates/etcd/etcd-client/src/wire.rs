//! One request to one endpoint: sent, redirected, its head waited for, its body read.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{AlertDescription, ClientConfig};

use crate::config::{Credentials, Dial, Trace, Traced};
use crate::connection::Connector;
use crate::endpoint::Endpoint;
use crate::error::Reason;
use crate::limits::{ANSWER_BYTES, IDLE_CONNECTIONS, IDLE_TIME, REDIRECTS};

/// What is asked, of whichever endpoint.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    /// Escaped; begins with a slash.
    pub path: String,
    pub body: Option<Body>,
    /// Whether another endpoint may be tried after this one may have got the request.
    pub repeatable: bool,
}

#[derive(Debug, Clone)]
pub struct Body {
    pub kind: &'static str,
    pub text: String,
    /// Holds a password: never shown.
    pub secret: bool,
}

pub const FORM: &str = "application/x-www-form-urlencoded";
pub const JSON: &str = "application/json";

impl Call {
    pub fn get(path: impl Into<String>) -> Call {
        Call { method: Method::GET, path: path.into(), body: None, repeatable: true }
    }

    pub fn with(method: Method, path: impl Into<String>) -> Call {
        Call { method, path: path.into(), body: None, repeatable: true }
    }

    pub fn json(mut self, text: String) -> Call {
        self.body = Some(Body { kind: JSON, text, secret: false });
        self
    }
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// The store's index at the time of the answer; 0 without the header.
    pub fn index(&self) -> u64 {
        index_of(&self.headers)
    }
}

pub fn index_of(headers: &HeaderMap) -> u64 {
    let text = headers.get("x-etcd-index").and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The pool of connections and what each request is given.
#[derive(Clone)]
pub struct Wire {
    pool: Pool<Connector, Full<Bytes>>,
    authorization: Option<HeaderValue>,
    request_timeout: Duration,
    trace: Option<Trace>,
}

impl Wire {
    pub fn new(
        tls: Arc<ClientConfig>,
        dial: Option<Dial>,
        credentials: Option<&Credentials>,
        request_timeout: Duration,
        trace: Option<Trace>,
    ) -> Wire {
        // Connecting gives up a little earlier than the request that waits for it, so that the reason is
        // always the one that says more.
        let connector = Connector { tls, dial, timeout: request_timeout.mul_f64(0.9) };
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        let authorization = credentials.map(|who| {
            let text = format!("Basic {}", STANDARD.encode(format!("{}:{}", who.user, who.password)));
            // invariant: base64 is made of visible ASCII only.
            #[allow(clippy::expect_used)]
            let mut value = HeaderValue::from_str(&text).expect("base64 is a header value");
            value.set_sensitive(true);
            value
        });
        Wire { pool, authorization, request_timeout, trace }
    }

    /// Over the same connections. The time in which one is opened stays.
    pub fn with_request_timeout(&self, request_timeout: Duration) -> Wire {
        Wire { request_timeout, ..self.clone() }
    }

    /// Sends `call`, follows redirections, and gives the answer as soon as its head is there.
    /// `known` are the origins that may see the password.
    pub async fn open(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        known: &[String],
    ) -> Result<Response<Incoming>, Reason> {
        let mut url = endpoint.address(&call.path);
        for _ in 0..=REDIRECTS {
            let answer = self.once(endpoint, call, &url, known).await?;
            if answer.status().as_u16() / 100 != 3 {
                return Ok(answer);
            }
            let place = answer.headers().get(LOCATION).ok_or(Reason::Redirect("location header not set"))?;
            let place = place.to_str().map_err(|_| Reason::Redirect("location header is not text"))?;
            url = next_address(&url, place)?;
        }
        Err(Reason::Redirects)
    }

    /// [`Wire::open`], with the body read to its end.
    pub async fn exchange(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        known: &[String],
    ) -> Result<Reply, Reason> {
        let (head, body) = self.open(endpoint, call, known).await?.into_parts();
        let body = match Limited::new(body, ANSWER_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(Reason::TooLong { endpoint: endpoint.to_string(), limit: ANSWER_BYTES });
            }
            Err(error) => return Err(Reason::Broken(chain(error.as_ref()))),
        };
        Ok(Reply { status: head.status, headers: head.headers, body })
    }

    async fn once(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        url: &str,
        known: &[String],
    ) -> Result<Response<Incoming>, Reason> {
        self.tell(call, url);
        let mut request = Request::builder().method(call.method.clone()).uri(url);
        let text = call.body.as_ref().map(|body| body.text.clone()).unwrap_or_default();
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, body.kind);
        }
        if let Some(value) = &self.authorization
            && known.iter().any(|origin| is_below(url, origin))
        {
            request = request.header(AUTHORIZATION, value);
        }
        let request =
            request.body(Full::new(Bytes::from(text))).map_err(|error| Reason::Broken(error.to_string()))?;
        match tokio::time::timeout(self.request_timeout, self.pool.request(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(reason_of(&error)),
            Err(_) => Err(Reason::HeaderTimeout { endpoint: endpoint.to_string() }),
        }
    }

    fn tell(&self, call: &Call, url: &str) {
        if let Some(Trace(tell)) = &self.trace {
            let secret = call.body.as_ref().is_some_and(|body| body.secret);
            let body = call.body.as_ref().filter(|_| !secret).map(|body| body.text.as_str());
            tell(&Traced { method: call.method.as_str(), url, body, body_is_secret: secret });
        }
    }
}

fn is_below(url: &str, origin: &str) -> bool {
    url.strip_prefix(origin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where a redirection leads: a whole URL, or a path on the same host.
fn next_address(url: &str, place: &str) -> Result<String, Reason> {
    if place.starts_with("http://") || place.starts_with("https://") {
        return Ok(place.to_owned());
    }
    if !place.starts_with('/') || place.starts_with("//") {
        return Err(Reason::Redirect("location header is neither a URL nor a path"));
    }
    let authority_at = url.find("://").map_or(0, |at| at + 3);
    let path_at = url[authority_at..].find('/').map_or(url.len(), |at| authority_at + at);
    Ok(format!("{}{place}", &url[..path_at]))
}

fn reason_of(error: &hyper_util::client::legacy::Error) -> Reason {
    let mut source = error.source();
    while let Some(one) = source {
        if let Some(reason) = one.downcast_ref::<Reason>() {
            return reason.clone();
        }
        if let Some(alert) = one.downcast_ref::<io::Error>().and_then(alert_of) {
            return Reason::Alert(alert);
        }
        source = one.source();
    }
    Reason::Broken(chain(error))
}

/// The alert behind an I/O error, in the words that etcd's users know.
fn alert_of(error: &io::Error) -> Option<&'static str> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => Some("expired certificate"),
        rustls::Error::AlertReceived(AlertDescription::UnknownCA) => Some("unknown certificate authority"),
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::BadCertificate,
        ) => Some("bad certificate"),
        rustls::Error::AlertReceived(_) => Some("handshake failure"),
        _ => None,
    }
}

/// The error and its causes, without repeating what a cause says again.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(one) = source {
        let more = one.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = one.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections() {
        let cases = [
            ("http://a:1/v2/keys/x", "/v2/keys/y", Some("http://a:1/v2/keys/y")),
            ("http://a:1", "/y", Some("http://a:1/y")),
            ("http://a:1/x", "https://b/y", Some("https://b/y")),
            ("http://a:1/x", "//b/y", None),
            ("http://a:1/x", "y", None),
        ];
        for (url, place, expect) in cases {
            assert_eq!(next_address(url, place).ok().as_deref(), expect, "{place}");
        }
    }

    #[test]
    fn the_password_goes_to_known_origins_only() {
        assert!(is_below("http://a:1/v2/keys", "http://a:1"));
        for other in ["http://a:12/v2", "http://b:1/v2", "https://a:1/v2", "http://a:1@b/v2"] {
            assert!(!is_below(other, "http://a:1"), "{other}");
        }
    }
}
