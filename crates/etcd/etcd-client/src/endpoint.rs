//! A client URL of a member: scheme, host and port, optionally with a path prefix.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// Parsed from text such as `https://10.0.0.1:2379`; without a scheme, `http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As configured, with a scheme; used in messages.
    text: String,
    https: bool,
    authority: String,
    /// Without a trailing slash.
    prefix: String,
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse {text:?}: {problem}")]
pub struct EndpointError {
    pub(crate) text: String,
    pub(crate) problem: &'static str,
}

impl Endpoint {
    /// `scheme://host:port`.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.authority)
    }

    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    /// The URL of `path_and_query`, which starts with a slash.
    pub(crate) fn address(&self, path_and_query: &str) -> String {
        format!("{}{}{}", self.origin(), self.prefix, path_and_query)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// The default scheme is http.
    fn from_str(address: &str) -> Result<Endpoint, EndpointError> {
        let text = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let invalid = |problem| EndpointError { text: text.clone(), problem };
        let uri: Uri = text.parse().map_err(|_| invalid("not a URL of the form http://host:port"))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(invalid("unsupported protocol scheme, use http or https")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("missing host"))?;
        if authority.host().is_empty() {
            return Err(invalid("missing host"));
        }
        if authority.as_str().contains('@') {
            return Err(invalid("credentials do not belong into an address, use a user name option"));
        }
        let after_host = authority.as_str().get(authority.host().len()..).unwrap_or_default();
        if !after_host.is_empty() && authority.port_u16().is_none() {
            return Err(invalid("invalid port after host"));
        }
        if uri.query().is_some() {
            return Err(invalid("an address of a member has no query"));
        }
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Endpoint { authority: authority.as_str().to_owned(), https, prefix, text })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_and_invalid_endpoints() {
        let valid = [
            ("http://127.0.0.1:2379", "http://127.0.0.1:2379/v2/keys"),
            ("127.0.0.1:4001", "http://127.0.0.1:4001/v2/keys"),
            ("localhost:4001", "http://localhost:4001/v2/keys"),
            ("https://etcd.example/", "https://etcd.example/v2/keys"),
            ("https://proxy:1/below/it/", "https://proxy:1/below/it/v2/keys"),
            ("http://[::1]:2379", "http://[::1]:2379/v2/keys"),
        ];
        for (text, expect) in valid {
            assert_eq!(text.parse::<Endpoint>().unwrap().address("/v2/keys"), expect, "{text}");
        }
        let invalid =
            ["", ":::", "http://", "ftp://a:1", "http://a:x", "http://a:70000", "http://u:p@a:1", "a:1?x=y"];
        for text in invalid {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
