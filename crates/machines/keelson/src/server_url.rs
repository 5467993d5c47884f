//! Server URLs: `http` or `https`, a host, and optionally a port and a path.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ureq::http::Uri;

/// Schemes and their default ports.
const SCHEMES: [(&str, u16); 2] = [("http", 80), ("https", 443)];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    scheme: &'static str,
    /// An IPv6 address is in brackets.
    host: String,
    port: Option<u16>,
    /// Starts with a slash.
    path: String,
}

#[derive(Debug, thiserror::Error)]
#[error("invalid server URL `{0}`: expected http://HOST or https://HOST")]
pub struct ParseServerUrlError(String);

impl ServerUrl {
    /// Appends `path` to this URL's path.
    pub fn join(&self, path: &str) -> Self {
        Self { path: format!("{}/{path}", self.path.trim_end_matches('/')), ..self.clone() }
    }

    pub fn with_host(&self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self.clone() }
    }

    /// Whether others on the way to the server can read requests.
    pub fn is_readable_on_the_network(&self) -> bool {
        self.scheme == "http" && !self.is_loopback()
    }

    pub fn is_loopback(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address {
            Ok(address) => address.is_loopback() || address.is_unspecified(),
            Err(_) => self.host == "localhost",
        }
    }
}

impl FromStr for ServerUrl {
    type Err = ParseServerUrlError;

    fn from_str(text: &str) -> Result<Self, ParseServerUrlError> {
        let invalid = || ParseServerUrlError(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let (scheme, default_port) =
            SCHEMES.into_iter().find(|(known, _)| scheme.eq_ignore_ascii_case(known)).ok_or_else(invalid)?;
        let authority = uri.authority().ok_or_else(invalid)?;
        // A user name before the host is not supported.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("" | ":") => default_port,
            Some(port) => port.trim_start_matches(':').parse().map_err(|_| invalid())?,
            None => return Err(invalid()),
        };
        if authority.host().is_empty() || uri.query().is_some() {
            return Err(invalid());
        }
        let (host, port) = (authority.host(), Some(port).filter(|port| *port != default_port));
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port, path: uri.path().to_owned() })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_normalized() {
        let check = |text: &str, expect: Option<&str>| {
            let normalized = text.parse::<ServerUrl>().ok().map(|url| url.to_string());
            assert_eq!(normalized.as_deref(), expect, "{text}");
        };
        check("http://a.example", Some("http://a.example/"));
        check("HTTPS://A.example:443/b", Some("https://a.example/b"));
        check("http://[::1]:8041/", Some("http://[::1]:8041/"));
        check("http://a:80", Some("http://a/"));
        for invalid in
            ["", "a.example", "/a", "ftp://a", "http://", "http://u:p@a/", "http://a/?b", "http://a:99999/"]
        {
            check(invalid, None);
        }
    }
}
