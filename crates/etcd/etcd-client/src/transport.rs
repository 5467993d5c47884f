//! Sends a request to one endpoint, follows redirects, and reads the response.

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
use rustls::AlertDescription;

use crate::config::{Credentials, Dial, Trace, TracedRequest};
use crate::connection::Connector;
use crate::endpoint::Endpoint;
use crate::error::Reason;
use crate::limits::{IDLE_TIMEOUT, MAX_IDLE_CONNECTIONS, MAX_REDIRECTS, MAX_RESPONSE_BYTES};
use crate::tls::ReloadingTls;

/// A request to any endpoint.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    /// Escaped; starts with a slash.
    pub path: String,
    pub body: Option<Body>,
    /// Whether the request may be repeated at another endpoint after this one may have received it.
    pub repeatable: bool,
}

#[derive(Debug, Clone)]
pub struct Body {
    pub kind: &'static str,
    pub text: String,
    /// Contains a password; must not be logged.
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

/// A complete response.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// `X-Etcd-Index`; 0 if missing.
    pub fn index(&self) -> u64 {
        index_of(&self.headers)
    }
}

pub fn index_of(headers: &HeaderMap) -> u64 {
    let text = headers.get("x-etcd-index").and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The connection pool and common parameters of requests.
#[derive(Clone)]
pub struct Transport {
    pool: Pool<Connector, Full<Bytes>>,
    authorization: Option<HeaderValue>,
    request_timeout: Duration,
    trace: Option<Trace>,
}

impl Transport {
    pub fn new(
        tls: ReloadingTls,
        dial: Option<Dial>,
        credentials: Option<&Credentials>,
        request_timeout: Duration,
        trace: Option<Trace>,
    ) -> Transport {
        // Less than the request's timeout, so that the more specific error is reported.
        let connector = Connector { tls: Arc::new(tls), dial, timeout: request_timeout.mul_f64(0.9) };
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(connector);
        let authorization = credentials.map(|credentials| {
            let text = format!(
                "Basic {}",
                STANDARD.encode(format!("{}:{}", credentials.user, credentials.password))
            );
            // invariant: base64 is made of visible ASCII only.
            #[allow(clippy::expect_used)]
            let mut value = HeaderValue::from_str(&text).expect("base64 is a header value");
            value.set_sensitive(true);
            value
        });
        Transport { pool, authorization, request_timeout, trace }
    }

    /// Shares the connections. The connect timeout does not change.
    pub fn with_request_timeout(&self, request_timeout: Duration) -> Transport {
        Transport { request_timeout, ..self.clone() }
    }

    /// Sends `call`, follows redirects, and returns the response head. The password is sent only to origins in
    /// `trusted_origins`.
    pub async fn open(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        trusted_origins: &[String],
    ) -> Result<Response<Incoming>, Reason> {
        let mut url = endpoint.address(&call.path);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send_once(endpoint, call, &url, trusted_origins).await?;
            if response.status().as_u16() / 100 != 3 {
                return Ok(response);
            }
            let location =
                response.headers().get(LOCATION).ok_or(Reason::Redirect("location header not set"))?;
            let location = location.to_str().map_err(|_| Reason::Redirect("location header is not text"))?;
            url = next_address(&url, location)?;
        }
        Err(Reason::Redirects)
    }

    /// [`Transport::open`], with the complete body.
    pub async fn exchange(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        trusted_origins: &[String],
    ) -> Result<Reply, Reason> {
        let (head, body) = self.open(endpoint, call, trusted_origins).await?.into_parts();
        let body = match Limited::new(body, MAX_RESPONSE_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(Reason::TooLong { endpoint: endpoint.to_string(), limit: MAX_RESPONSE_BYTES });
            }
            Err(error) => return Err(Reason::Broken(chain(error.as_ref()))),
        };
        Ok(Reply { status: head.status, headers: head.headers, body })
    }

    async fn send_once(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        url: &str,
        trusted_origins: &[String],
    ) -> Result<Response<Incoming>, Reason> {
        self.trace_request(call, url);
        let mut request = Request::builder().method(call.method.clone()).uri(url);
        let text = call.body.as_ref().map(|body| body.text.clone()).unwrap_or_default();
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, body.kind);
        }
        if let Some(value) = &self.authorization
            && trusted_origins.iter().any(|origin| is_below(url, origin))
        {
            request = request.header(AUTHORIZATION, value);
        }
        let request =
            request.body(Full::new(Bytes::from(text))).map_err(|error| Reason::Broken(error.to_string()))?;
        match tokio::time::timeout(self.request_timeout, self.pool.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(reason_of(&error)),
            Err(_) => Err(Reason::HeaderTimeout { endpoint: endpoint.to_string() }),
        }
    }

    fn trace_request(&self, call: &Call, url: &str) {
        if let Some(Trace(trace_request)) = &self.trace {
            let secret = call.body.as_ref().is_some_and(|body| body.secret);
            let body = call.body.as_ref().filter(|_| !secret).map(|body| body.text.as_str());
            trace_request(&TracedRequest { method: call.method.as_str(), url, body, body_is_secret: secret });
        }
    }
}

fn is_below(url: &str, origin: &str) -> bool {
    url.strip_prefix(origin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The target of a redirect: a URL, or a path on the same host.
fn next_address(url: &str, location: &str) -> Result<String, Reason> {
    if location.starts_with("http://") || location.starts_with("https://") {
        return Ok(location.to_owned());
    }
    if !location.starts_with('/') || location.starts_with("//") {
        return Err(Reason::Redirect("location header is neither a URL nor a path"));
    }
    let authority_at = url.find("://").map_or(0, |at| at + 3);
    let path_at = url[authority_at..].find('/').map_or(url.len(), |at| authority_at + at);
    Ok(format!("{}{location}", &url[..path_at]))
}

fn reason_of(error: &hyper_util::client::legacy::Error) -> Reason {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(reason) = cause.downcast_ref::<Reason>() {
            return reason.clone();
        }
        if let Some(alert) = cause.downcast_ref::<io::Error>().and_then(alert_of) {
            return Reason::Alert(alert);
        }
        source = cause.source();
    }
    Reason::Broken(chain(error))
}

/// The text of a TLS alert in an I/O error, as by etcd.
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

/// The error and its causes, without repetitions.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
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
        for (url, location, expect) in cases {
            assert_eq!(next_address(url, location).ok().as_deref(), expect, "{location}");
        }
    }

    #[test]
    fn credentials_are_sent_only_to_known_origins() {
        assert!(is_below("http://a:1/v2/keys", "http://a:1"));
        for other in ["http://a:12/v2", "http://b:1/v2", "https://a:1/v2", "http://a:1@b/v2"] {
            assert!(!is_below(other, "http://a:1"), "{other}");
        }
    }
}
