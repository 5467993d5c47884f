//! URL of a discovery token: `https://host[:port]/path/TOKEN`.

use percent_encoding::percent_decode_str;

use crate::url::{Scheme, Url, split_host_port};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryUrl {
    /// Unmodified: it is the cluster's token.
    pub text: String,
    /// Scheme, host and port; the port defaults to the scheme's.
    pub endpoint: Url,
    /// `user:password` for basic authentication.
    pub credentials: Option<String>,
    /// With a leading and no trailing `/`: `/TOKEN`, `/v2/keys/any/TOKEN`.
    pub path: String,
}

impl DiscoveryUrl {
    /// `None` unless the URL is http or https and has a token in its path.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Scheme::Http, 80),
            "https" => (Scheme::Https, 443),
            _ => return None,
        };
        let (host_and_port, path) = rest.split_once('/')?;
        let Authority { credentials, host, port } = authority(host_and_port, default_port)?;
        let path = path.split(['?', '#']).next()?.trim_matches('/');
        if path.is_empty() || path.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return None;
        }
        Some(Self {
            text: text.to_owned(),
            endpoint: Url::new(scheme, host, port),
            credentials,
            path: format!("/{path}"),
        })
    }
}

/// The authority of a URL.
pub struct Authority<'a> {
    pub credentials: Option<String>,
    /// Without brackets; not empty.
    pub host: &'a str,
    pub port: u16,
}

/// `[user:password@]host[:port]`
pub fn authority(text: &str, default_port: u16) -> Option<Authority<'_>> {
    let (credentials, host_and_port) = match text.rsplit_once('@') {
        Some((credentials, host_and_port)) => {
            (Some(percent_decode_str(credentials).decode_utf8().ok()?), host_and_port)
        }
        None => (None, text),
    };
    let credentials = credentials.map(std::borrow::Cow::into_owned);
    let (host, port) = match split_host_port(host_and_port) {
        Some((host, port)) => (host, port),
        None => {
            let with_port = format!("{host_and_port}:{default_port}");
            split_host_port(&with_port)?;
            let bare = host_and_port.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
            (bare.unwrap_or(host_and_port), default_port)
        }
    };
    (!host.is_empty()).then_some(Authority { credentials, host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, &str)>) {
        let got = DiscoveryUrl::parse(text).map(|url| (url.endpoint.to_string(), url.path));
        assert_eq!(got, expected.map(|(at, path)| (at.to_owned(), path.to_owned())), "{text}");
    }

    #[test]
    fn token_urls() {
        check("https://discovery.etcd.io/abc", Some(("https://discovery.etcd.io:443", "/abc")));
        check("http://10.0.0.1:2379/v2/keys/a/abc/", Some(("http://10.0.0.1:2379", "/v2/keys/a/abc")));
        check("http://u:p@h/abc?x=1", Some(("http://h:80", "/abc")));
        check("http://[::1]/abc", Some(("http://[::1]:80", "/abc")));
        for bad in
            ["", "abc", "http://h", "http://h/", "ftp://h/t", "http:///t", "http://h:x/t", "http://h/a b"]
        {
            check(bad, None);
        }
    }
}
