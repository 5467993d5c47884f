//! `-discovery-proxy`: the HTTP proxy on the way to the discovery service.

use super::address::{Authority, authority};
use crate::url::{Scheme, Url};

#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    pub endpoint: Url,
    /// `user:password` for basic authentication.
    pub credentials: Option<String>,
}

impl ProxyUrl {
    /// `None` unless it is an http or https URL with a host. The default scheme is http.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None => ("http", text),
        };
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Scheme::Http, 80),
            "https" => (Scheme::Https, 443),
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let Authority { credentials, host, port } = authority(&rest[..end], default_port)?;
        Some(Self { endpoint: Url::new(scheme, host, port), credentials })
    }
}

/// Omits the password.
impl std::fmt::Debug for ProxyUrl {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("ProxyUrl").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, Option<&str>)>) {
        let got = ProxyUrl::parse(text).map(|proxy| (proxy.endpoint.to_string(), proxy.credentials));
        let expected = expected.map(|(at, who)| (at.to_owned(), who.map(str::to_owned)));
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn proxy_urls() {
        check("http://proxy:3128", Some(("http://proxy:3128", None)));
        check("proxy:3128", Some(("http://proxy:3128", None)));
        check("10.0.0.1", Some(("http://10.0.0.1:80", None)));
        check("HTTPS://u:p@proxy/", Some(("https://proxy:443", Some("u:p"))));
        check("u:p%40ss@[::1]:3128", Some(("http://[::1]:3128", Some("u:p@ss"))));
        for bad in ["", "http://", "ftp://proxy:1", "proxy:x", "a b:1"] {
            check(bad, None);
        }
        let shown = format!("{:?}", ProxyUrl::parse("u:secret@proxy"));
        assert!(shown.contains("proxy") && !shown.contains("secret"), "{shown}");
    }
}
