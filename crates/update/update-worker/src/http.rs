//! The HTTP client: in a child, or in this process. One request at a time, without retries.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use crate::limits::{CONNECT_TIMEOUT, EXCERPT, MAX_REDIRECTS, MIN_RATE, REQUEST_TIMEOUT};
use crate::message::{Reason, Refused};
use crate::process::WorkerError;

const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
const CERTIFICATES_VARIABLE: &str = "SSL_CERT_FILE";

/// Why a request failed. URLs are without secrets.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum HttpError {
    #[error("{url}: HTTP status {status}{body}")]
    Status { url: String, status: u16, body: String },
    /// The reason, with its causes.
    #[error("{url}: {reason}")]
    Transport { url: String, reason: String },
    #[error("{url}: the server sent another range than requested")]
    Range { url: String },
    #[error("{url}: the response has more than {limit} bytes")]
    TooLong { url: String, limit: u64 },
    /// The child process failed, not the request.
    #[error("{url}")]
    Worker { url: String, source: WorkerError },
}

impl HttpError {
    /// The HTTP status of a failed request.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub(crate) fn refused(url: &str, limit: u64, refused: Refused) -> Self {
        let url = redact_url(url);
        match refused {
            Refused::Status { status, body } => {
                let body = if body.is_empty() { body } else { format!(": {body}") };
                Self::Status { url, status, body }
            }
            Refused::Failed { reason: Reason::Transport, text } => Self::Transport { url, reason: text },
            Refused::Failed { reason: Reason::Range, .. } => Self::Range { url },
            Refused::Failed { reason: Reason::TooLong, .. } => Self::TooLong { url, limit },
        }
    }
}

/// Uses the proxies of the environment and the system's certificates.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
}

impl Client {
    pub fn new() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(MAX_REDIRECTS)
            .user_agent(concat!("update-agent/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(MIN_RATE.1))
            .timeout_per_read(Some(MIN_RATE.1))
            .tls_config(tls_config());
        Self { agent: config.build().new_agent() }
    }

    /// Posts XML. `header`: a further one, `NAME: VALUE`, or empty. Returns a response of at most `limit` bytes.
    pub fn post(&self, url: &str, header: &str, body: &[u8], limit: u64) -> Result<Vec<u8>, Refused> {
        let mut request = self.agent.post(url).config().timeout_global(Some(REQUEST_TIMEOUT)).build();
        if let Some((name, value)) = header.split_once(": ") {
            request = request.header(name, value);
        }
        let response = request.content_type("text/xml").send(body);
        read_body(response.map_err(|error| transport(&error))?, limit)
    }

    /// Fetches a file of at most `limit` bytes.
    pub fn get(&self, url: &str, limit: u64) -> Result<Vec<u8>, Refused> {
        let request = self.agent.get(url).config().timeout_global(Some(REQUEST_TIMEOUT)).build();
        read_body(request.call().map_err(|error| transport(&error))?, limit)
    }

    /// Opens a range of a file. More bytes may follow.
    pub fn range(&self, url: &str, range: &Range<u64>) -> Result<ureq::BodyReader<'static>, Refused> {
        let header = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let response = self.agent.get(url).header("Range", header).call();
        let response = response.map_err(|error| transport(&error))?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let begins = format!("bytes {}-", range.start);
        match response.status().as_u16() {
            // A captive portal.
            _ if header("content-type").is_some_and(|kind| kind.starts_with("text/html")) => {
                return Err(status_error(response.status().as_u16(), response.into_body()));
            }
            206 if header("content-range").is_none_or(|range| !range.starts_with(&begins)) => {
                return Err(Refused::Failed { reason: Reason::Range, text: String::new() });
            }
            206 => {}
            // The server ignores ranges: usable only from the start.
            200 if range.start == 0 => {}
            status => return Err(status_error(status, response.into_body())),
        }
        Ok(response.into_body().into_reader())
    }
}

fn read_body(response: ureq::http::Response<Body>, limit: u64) -> Result<Vec<u8>, Refused> {
    let (head, mut body) = response.into_parts();
    if head.status.as_u16() != 200 {
        return Err(status_error(head.status.as_u16(), body));
    }
    // ureq rejects a body of exactly the limit.
    match body.with_config().limit(limit + 1).read_to_vec() {
        Ok(bytes) if bytes.len() as u64 <= limit => Ok(bytes),
        Ok(_) | Err(ureq::Error::BodyExceedsLimit(_)) => {
            Err(Refused::Failed { reason: Reason::TooLong, text: String::new() })
        }
        Err(error) => Err(transport(&error)),
    }
}

/// The refusal for a status, with the beginning of the body.
fn status_error(status: u16, body: Body) -> Refused {
    let mut text = Vec::new();
    // Ignores a body that cannot be read.
    drop(body.into_reader().take(EXCERPT as u64).read_to_end(&mut text));
    let body = String::from_utf8_lossy(&text).split_whitespace().collect::<Vec<_>>().join(" ");
    Refused::Status { status, body }
}

fn transport(error: &ureq::Error) -> Refused {
    Refused::Failed { reason: Reason::Transport, text: service::error::chain(error) }
}

/// Removes credentials and the query, which may contain a token.
#[must_use]
pub fn redact_url(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url
        .split_once("://")
        .map(|(scheme, rest)| (scheme, rest.split_at(rest.find('/').unwrap_or(rest.len()))))
    {
        Some((scheme, (host, path))) => {
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

/// The system's certificate authorities: none if there is no such file.
#[must_use]
pub fn system_certificates() -> Vec<Certificate<'static>> {
    let path = std::env::var(CERTIFICATES_VARIABLE).unwrap_or_else(|_| CERTIFICATES.to_owned());
    let pem = std::fs::read(&path).unwrap_or_default();
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    certificates.collect()
}

/// Trusts the system's certificate authorities. Without them only plain HTTP works.
#[must_use]
pub fn tls_config() -> TlsConfig {
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(system_certificates())))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_logged_without_secrets() {
        assert_eq!(redact_url("http://u:p@host:80/a/b?token=x#y"), "http://host:80/a/b");
        assert_eq!(redact_url("https://host"), "https://host");
        assert_eq!(redact_url("nonsense"), "nonsense");
    }
}
