//! A URL that user-data is fetched from.
//!
//! It may carry a password or a token: only [`Url::shown`] may reach a log or a message.

use super::error::DatasourceError;

const SCHEME_START: &str = "http";
const HIDDEN: &str = "***";

#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

/// As [`Url::shown`].
impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Url {
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// # Errors
    /// It is empty, or not fetched by HTTP.
    pub(super) fn check(&self) -> Result<(), DatasourceError> {
        if self.0.is_empty() {
            return Err(DatasourceError::EmptyUrl);
        }
        let scheme = self.0.split_once("://").map_or("", |(scheme, _)| scheme);
        if !scheme.to_ascii_lowercase().starts_with(SCHEME_START) {
            return Err(DatasourceError::UrlScheme(self.shown()));
        }
        Ok(())
    }

    /// For the request only.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.0.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
    }

    /// Without port, user and password.
    pub(super) fn host(&self) -> &str {
        let rest = self.0.split_once("://").map_or(&*self.0, |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
            Some((address, _)) => address,
            None => host.split(':').next().unwrap_or_default(),
        }
    }

    /// Without user, password and query.
    pub fn shown(&self) -> String {
        let (scheme, rest) = match self.0.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), &*self.0),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let authority = match authority.rsplit_once('@') {
            Some((_, host)) => format!("{HIDDEN}@{host}"),
            None => authority.to_owned(),
        };
        let path = match path.split_once('?') {
            Some((path, _)) => format!("{path}?{HIDDEN}"),
            None => path.to_owned(),
        };
        format!("{scheme}{authority}{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        for (url, shown, host) in [
            ("http://a/b", "http://a/b", "a"),
            ("https://u:p@h:1/x?token=t", "https://***@h:1/x?***", "h"),
            ("http://u:p@/q@h@[fe80::1]:80", "http://***@/q@h@[fe80::1]:80", ""),
            ("http://[fe80::1]:80", "http://[fe80::1]:80", "fe80::1"),
            ("u:p@h", "***@h", "h"),
        ] {
            let url = Url::new(url);
            assert_eq!((&*url.shown(), url.host()), (shown, host));
        }
    }

    #[test]
    fn only_http() {
        for (url, expect) in [
            ("", Some("URL is empty. Skipping.")),
            ("ftp://h/x", Some("URL ftp://h/x does not have a valid HTTP scheme. Skipping.")),
            ("h/x", Some("URL h/x does not have a valid HTTP scheme. Skipping.")),
            ("HTTP://h/x", None),
        ] {
            let problem = Url::new(url).check().err().map(|error| error.to_string());
            assert_eq!(problem.as_deref(), expect, "{url}");
        }
        assert!(Url::new("HTTPS://h").is_encrypted() && !Url::new("http://https://").is_encrypted());
    }
}
