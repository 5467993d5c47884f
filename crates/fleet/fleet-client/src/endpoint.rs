//! URL of the server.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hyper::Uri;

/// What carries the HTTP requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A socket file: `unix://` and `file://` URLs.
    Unix(PathBuf),
    /// Plain TCP: `http://` URLs.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// 80 if the URL has none.
        port: u16,
    },
    /// TLS: `https://` URLs.
    Tls {
        /// Name or address, without brackets; verified against the certificate.
        host: String,
        /// 443 if the URL has none.
        port: u16,
    },
}

/// A server, as parsed from a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// How the server is reached.
    pub transport: Transport,
    /// Base URL of requests and messages: `http://domain-sock`, `http://127.0.0.1:49153`.
    base: String,
    authority: String,
    /// Without a trailing slash.
    prefix: String,
}

/// The messages are those of the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum EndpointError {
    #[error("URL scheme undefined")]
    NoScheme,
    #[error("unable to connect to host {host:?} with scheme {scheme:?}")]
    UnexpectedHost { host: String, scheme: String },
    #[error("unsupported URL scheme {0:?}: use unix, file, http or https")]
    Scheme(String),
    #[error("parse {0:?}: not a URL of the form http://host:port")]
    InvalidUrl(String),
}

/// Host of requests over a Unix socket, as in the original.
const SOCKET_HOST: &str = "domain-sock";

impl Endpoint {
    /// Whether a client needs a TLS configuration.
    pub fn is_tls(&self) -> bool {
        matches!(self.transport, Transport::Tls { .. })
    }

    /// `None` for Unix sockets.
    pub fn port(&self) -> Option<u16> {
        match self.transport {
            Transport::Unix(_) => None,
            Transport::Tcp { port, .. } | Transport::Tls { port, .. } => Some(port),
        }
    }

    /// The `Host` header.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The complete URL, for messages.
    pub(crate) fn address(&self, path_and_query: &str) -> String {
        format!("{}{}{path_and_query}", self.base, self.prefix)
    }

    /// The target in the request line.
    pub(crate) fn target(&self, path_and_query: &str) -> String {
        format!("{}{path_and_query}", self.prefix)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (scheme, rest) = text.split_once(':').ok_or(EndpointError::NoScheme)?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        match scheme {
            "unix" | "file" => socket(scheme, rest),
            "http" | "https" => remote(text, scheme == "https"),
            "" => Err(EndpointError::NoScheme),
            other => Err(EndpointError::Scheme(other.to_owned())),
        }
    }
}

fn socket(scheme: &str, rest: &str) -> Result<Endpoint, EndpointError> {
    // In `unix://var/run/x`, the first part is a host.
    let (host, _) = rest.split_once('/').unwrap_or((rest, ""));
    if !host.is_empty() || rest.is_empty() {
        return Err(EndpointError::UnexpectedHost { host: host.to_owned(), scheme: scheme.to_owned() });
    }
    Ok(Endpoint {
        transport: Transport::Unix(rest.into()),
        base: format!("http://{SOCKET_HOST}"),
        authority: SOCKET_HOST.to_owned(),
        prefix: String::new(),
    })
}

fn remote(text: &str, tls: bool) -> Result<Endpoint, EndpointError> {
    let invalid = || EndpointError::InvalidUrl(text.to_owned());
    let url: Uri = text.parse().map_err(|_| invalid())?;
    let authority = url.authority().ok_or_else(invalid)?;
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(invalid());
    }
    let after_host = authority.as_str().get(authority.host().len()..).unwrap_or_default();
    if !after_host.is_empty() && authority.port_u16().is_none() {
        return Err(invalid());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    Ok(Endpoint {
        transport: if tls { Transport::Tls { host, port } } else { Transport::Tcp { host, port } },
        base: format!("{}://{authority}", if tls { "https" } else { "http" }),
        authority: authority.to_string(),
        prefix: url.path().trim_end_matches('/').to_owned(),
    })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Unix(path) => write!(to, "unix://{}", path.display()),
            _ => write!(to, "{}{}", self.base, self.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let got = match text.parse::<Endpoint>() {
            Ok(endpoint) => endpoint.address("/fleet/v1/units"),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn parse_endpoints() {
        check("unix:///var/run/fleet.sock", "http://domain-sock/fleet/v1/units");
        check("file:///var/run/fleet.sock", "http://domain-sock/fleet/v1/units");
        check("http://127.0.0.1:49153", "http://127.0.0.1:49153/fleet/v1/units");
        check("https://fleet.example/below/", "https://fleet.example/below/fleet/v1/units");
        check("http://[::1]:80/", "http://[::1]:80/fleet/v1/units");
        check("unix://var/run/fleet.sock", "unable to connect to host \"var\" with scheme \"unix\"");
        check("file://", "unable to connect to host \"\" with scheme \"file\"");
        check("/var/run/fleet.sock", "URL scheme undefined");
        check("", "URL scheme undefined");
        check("ftp://a", "unsupported URL scheme \"ftp\": use unix, file, http or https");
        check("http://a:x", "parse \"http://a:x\": not a URL of the form http://host:port");
        check("http://u:p@a", "parse \"http://u:p@a\": not a URL of the form http://host:port");
    }
}
