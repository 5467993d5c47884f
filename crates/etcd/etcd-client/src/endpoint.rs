//! One address of a member: scheme, host and port, perhaps a path before `/v2`.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As it was given, with the scheme added: what messages show.
    text: String,
    https: bool,
    authority: String,
    /// Without a slash at its end.
    prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse {text:?}: {problem}")]
pub struct EndpointError {
    pub text: String,
    pub problem: &'static str,
}

impl Endpoint {
    /// `scheme://host:port`, to compare origins and to name the endpoint.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.authority)
    }

    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The address of `path_and_query`, which begins with a slash.
    pub(crate) fn address(&self, path_and_query: &str) -> String {
        format!("{}{}{}", self.origin(), self.prefix, path_and_query)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// A text without scheme means http.
    fn from_str(given: &str) -> Result<Endpoint, EndpointError> {
        let text = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
        let wrong = |problem| EndpointError { text: text.clone(), problem };
        let uri: Uri = text.parse().map_err(|_| wrong("not a URL of the form http://host:port"))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("unsupported protocol scheme, use http or https")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("missing host"))?;
        if authority.host().is_empty() {
            return Err(wrong("missing host"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("credentials do not belong into an address, use a user name option"));
        }
        let after_host = authority.as_str().get(authority.host().len()..).unwrap_or_default();
        if !after_host.is_empty() && authority.port_u16().is_none() {
            return Err(wrong("invalid port after host"));
        }
        if uri.query().is_some() {
            return Err(wrong("an address of a member has no query"));
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
    fn what_is_an_endpoint() {
        let good = [
            ("http://127.0.0.1:2379", "http://127.0.0.1:2379/v2/keys"),
            ("127.0.0.1:4001", "http://127.0.0.1:4001/v2/keys"),
            ("localhost:4001", "http://localhost:4001/v2/keys"),
            ("https://etcd.example/", "https://etcd.example/v2/keys"),
            ("https://proxy:1/below/it/", "https://proxy:1/below/it/v2/keys"),
            ("http://[::1]:2379", "http://[::1]:2379/v2/keys"),
        ];
        for (text, expect) in good {
            assert_eq!(text.parse::<Endpoint>().unwrap().address("/v2/keys"), expect, "{text}");
        }
        let bad =
            ["", ":::", "http://", "ftp://a:1", "http://a:x", "http://a:70000", "http://u:p@a:1", "a:1?x=y"];
        for text in bad {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
