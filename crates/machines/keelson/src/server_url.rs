//! The URL of a server: `http` or `https`, a host, perhaps a port and a path.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ureq::http::Uri;

/// Schemes and the ports that their URLs leave out.
const SCHEMES: [(&str, u16); 2] = [("http", 80), ("https", 443)];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    scheme: &'static str,
    /// An IPv6 address is in brackets.
    host: String,
    port: Option<u16>,
    /// Begins with a slash.
    path: String,
}

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no URL of a server: it has to be http://HOST or https://HOST")]
pub struct NoServerUrl(String);

impl ServerUrl {
    /// The same server's `path`, below its own.
    pub fn below(&self, path: &str) -> Self {
        Self { path: format!("{}/{path}", self.path.trim_end_matches('/')), ..self.clone() }
    }

    /// The same on another host.
    pub fn on(&self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self.clone() }
    }

    /// Whether the host is the one that asks.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address {
            Ok(address) => address.is_loopback() || address.is_unspecified(),
            Err(_) => self.host == "localhost",
        }
    }
}

impl FromStr for ServerUrl {
    type Err = NoServerUrl;

    fn from_str(text: &str) -> Result<Self, NoServerUrl> {
        let refused = || NoServerUrl(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| refused())?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let (scheme, usual_port) =
            SCHEMES.into_iter().find(|(known, _)| scheme.eq_ignore_ascii_case(known)).ok_or_else(refused)?;
        let authority = uri.authority().ok_or_else(refused)?;
        // Where it begins with a user, it does not begin with the host.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("" | ":") => usual_port,
            Some(port) => port.trim_start_matches(':').parse().map_err(|_| refused())?,
            None => return Err(refused()),
        };
        if authority.host().is_empty() || uri.query().is_some() {
            return Err(refused());
        }
        let (host, port) = (authority.host(), Some(port).filter(|port| *port != usual_port));
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
    fn a_url_is_shown_in_its_shortest_form() {
        let check = |text: &str, expect: Option<&str>| {
            let shown = text.parse::<ServerUrl>().ok().map(|url| url.to_string());
            assert_eq!(shown.as_deref(), expect, "{text}");
        };
        check("http://a.example", Some("http://a.example/"));
        check("HTTPS://A.example:443/b", Some("https://a.example/b"));
        check("http://[::1]:8041/", Some("http://[::1]:8041/"));
        check("http://a:80", Some("http://a/"));
        for refused in
            ["", "a.example", "/a", "ftp://a", "http://", "http://u:p@a/", "http://a/?b", "http://a:99999/"]
        {
            check(refused, None);
        }
    }
}
