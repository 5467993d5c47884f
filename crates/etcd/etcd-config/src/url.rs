//! URLs of members: scheme, host and port.
//!
//! Lists are sorted by text, since member ids are computed from them and must be equal on all machines. Names are not
//! resolved here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::limits::MAX_URLS;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    Http,
    Https,
    /// A unix socket of 3.x, `unix://name:0`.
    Unix,
    Unixs,
}

impl Scheme {
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Unixs)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Unix => "unix",
            Self::Unixs => "unixs",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// `http://10.0.0.1:2380`. The host has no brackets; empty means all interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Url {
    pub scheme: Scheme,
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    #[error("no valid URLs given")]
    Empty,
    #[error("more than {MAX_URLS} URLs in one list")]
    TooMany,
    #[error("URL scheme must be http, https, unix, or unixs: {0}")]
    Scheme(String),
    #[error("URL address does not have the form \"host:port\": {0}")]
    Address(String),
    #[error("URL must not contain a path: {0}")]
    Path(String),
}

impl Url {
    pub fn new(scheme: Scheme, host: impl Into<String>, port: u16) -> Self {
        Self { scheme, host: host.into(), port }
    }

    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    pub fn with_port(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.scheme, self.authority())
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or_else(|| UrlError::Scheme(text.to_owned()))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => return Err(UrlError::Scheme(text.to_owned())),
        };
        if let Some(at) = rest.find(['/', '?', '#']) {
            // As in etcd, a missing port is reported before a path.
            split_host_port(&rest[..at]).ok_or_else(|| UrlError::Address(text.to_owned()))?;
            return Err(UrlError::Path(text.to_owned()));
        }
        let (host, port) = split_host_port(rest).ok_or_else(|| UrlError::Address(text.to_owned()))?;
        Ok(Self { scheme, host: host.to_owned(), port })
    }
}

/// Splits `host:port`. The host may be empty or in brackets; user names and spaces are rejected.
pub fn split_host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|inner| inner.contains(':'))?,
        None if host.contains(':') => return None,
        None => host,
    };
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '@' | '[' | ']' | '/' | ',');
    if !host.chars().all(plain) || port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((host, port.parse().ok()?))
}

/// Parses a comma-separated list; sorts it by text.
pub fn parse_list(text: &str) -> Result<Vec<Url>, UrlError> {
    if text.trim().is_empty() {
        return Err(UrlError::Empty);
    }
    let urls = text.split(',').map(str::parse).collect::<Result<Vec<Url>, _>>()?;
    if urls.len() > MAX_URLS {
        return Err(UrlError::TooMany);
    }
    Ok(sorted(urls))
}

/// Sorts by text, the order for computing ids.
pub fn sorted(mut urls: Vec<Url>) -> Vec<Url> {
    urls.sort_by_cached_key(Url::to_string);
    urls
}

/// Joins the texts by commas.
pub fn join(urls: &[Url]) -> String {
    urls.iter().map(Url::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let got = parse_list(text).map(|urls| join(&urls)).map_err(|error| error.to_string());
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn lists_are_checked_and_sorted() {
        check("http://b:2,http://a:1", Ok("http://a:1,http://b:2"));
        check(" HTTPS://a:1 ", Ok("https://a:1"));
        check("http://[::1]:2380", Ok("http://[::1]:2380"));
        check("http://:4001", Ok("http://:4001"));
        check("http://a:10,http://a:9", Ok("http://a:10,http://a:9"));
        check("", Err("no valid URLs given"));
        check("a:1", Err("URL scheme must be http, https, unix, or unixs: a:1"));
        check("ftp://a:1", Err("URL scheme must be http, https, unix, or unixs: ftp://a:1"));
        check("http://a", Err("URL address does not have the form \"host:port\": http://a"));
        check("http://a:x", Err("URL address does not have the form \"host:port\": http://a:x"));
        check("http://a:70000", Err("URL address does not have the form \"host:port\": http://a:70000"));
        check("http://::1:1", Err("URL address does not have the form \"host:port\": http://::1:1"));
        check("http://u@a:1", Err("URL address does not have the form \"host:port\": http://u@a:1"));
        check("http://a:1/", Err("URL must not contain a path: http://a:1/"));
        check("http://a/x", Err("URL address does not have the form \"host:port\": http://a/x"));
    }
}
