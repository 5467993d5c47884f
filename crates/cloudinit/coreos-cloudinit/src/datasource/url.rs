//! A URL that user-data is fetched from.
//!
//! It may contain a password or token: log and report only [`Url::redacted`].

use std::borrow::Cow;

use super::error::DatasourceError;

const SCHEME_START: &str = "http";
const REDACTED: &str = "***";

#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

/// Prints [`Url::redacted`].
impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl Url {
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// # Errors
    /// The URL is empty or its scheme is not http(s).
    pub(super) fn check(&self) -> Result<(), DatasourceError> {
        if self.0.is_empty() {
            return Err(DatasourceError::EmptyUrl);
        }
        let scheme = self.0.split_once("://").map_or("", |(scheme, _)| scheme);
        if !scheme.to_ascii_lowercase().starts_with(SCHEME_START) {
            return Err(DatasourceError::UrlScheme(self.redacted()));
        }
        Ok(())
    }

    /// For requests only. Omits the zone of an IPv6 address, which is local to this machine.
    pub(super) fn unredacted(&self) -> Cow<'_, str> {
        match self.zone_range() {
            Some((start, end)) => Cow::Owned(format!("{}{}", &self.0[..start], &self.0[end..])),
            None => Cow::Borrowed(&self.0),
        }
    }

    /// The interface of a link-local address: `eth0` of `[fe80::1%25eth0]`.
    pub(super) fn zone(&self) -> Option<&str> {
        let (start, end) = self.zone_range()?;
        let zone = &self.0[start + 1..end];
        Some(zone.strip_prefix("25").filter(|name| !name.is_empty()).unwrap_or(zone))
    }

    /// The range of the zone, percent sign included.
    fn zone_range(&self) -> Option<(usize, usize)> {
        let start = self.0.find("://")? + 3;
        let authority = start..start + self.0[start..].find(['/', '?', '#']).unwrap_or(self.0.len() - start);
        let bracket = authority.start + self.0[authority.clone()].rfind('[')?;
        let end = bracket + self.0[bracket..authority.end].find(']')?;
        Some((bracket + self.0[bracket..end].find('%')?, end))
    }

    pub(super) fn append_path(&self, path: &str) -> Self {
        Self(format!("{}/{path}", self.0.trim_end_matches('/')))
    }

    /// Resolves a redirect to `location`.
    pub(super) fn join(&self, location: &str) -> Self {
        let location = location.split('#').next().unwrap_or_default();
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("http", &self.0));
        let start = location.find(['/', '?']).unwrap_or(location.len());
        if location[..start].ends_with(':') {
            return Self(location.to_owned());
        }
        if location.starts_with("//") {
            return Self(format!("{scheme}:{location}"));
        }
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let rest = match location.chars().next() {
            None => rest.to_owned(),
            Some('/') => location.to_owned(),
            Some('?') => format!("{path}{location}"),
            Some(_) => format!("{}/{location}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        Self(format!("{scheme}://{authority}{rest}"))
    }

    /// Compares scheme, host and port: whether secrets for one may be sent to the other.
    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        let server = |url: &Self| {
            let (scheme, rest) = url.0.split_once("://")?;
            let authority = rest.split(['/', '?', '#']).next()?;
            let host_and_port = authority.rsplit('@').next()?;
            Some(format!("{scheme}://{host_and_port}").to_ascii_lowercase())
        };
        server(self).is_some_and(|ours| Some(ours) == server(other))
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
            Some((address, _)) => address.split('%').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        }
    }

    /// Without user, password and query.
    pub fn redacted(&self) -> String {
        let (scheme, rest) = match self.0.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), &*self.0),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let authority = match authority.rsplit_once('@') {
            Some((_, host)) => format!("{REDACTED}@{host}"),
            None => authority.to_owned(),
        };
        let path = match path.split_once('?') {
            Some((path, _)) => format!("{path}?{REDACTED}"),
            None => path.to_owned(),
        };
        format!("{scheme}{authority}{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_redacted() {
        for (url, redacted, host) in [
            ("http://a/b", "http://a/b", "a"),
            ("https://u:p@h:1/x?token=t", "https://***@h:1/x?***", "h"),
            ("http://u:p@/q@h@[fe80::1]:80", "http://***@/q@h@[fe80::1]:80", ""),
            ("http://[fe80::1]:80", "http://[fe80::1]:80", "fe80::1"),
            ("http://[fe80::1%25eth0]/", "http://[fe80::1%25eth0]/", "fe80::1"),
            ("u:p@h", "***@h", "h"),
        ] {
            let url = Url::new(url);
            assert_eq!((&*url.redacted(), url.host()), (redacted, host));
        }
    }

    #[test]
    fn zones() {
        for (url, secret, zone) in [
            ("http://u:p%5B@[fe80::1%25eth0]:80/a%25b", "http://u:p%5B@[fe80::1]:80/a%25b", Some("eth0")),
            ("http://[fe80::1%eth0]", "http://[fe80::1]", Some("eth0")),
            ("http://[fe80::1%25]/", "http://[fe80::1]/", Some("25")),
            ("http://[fe80::1]/%25", "http://[fe80::1]/%25", None),
            ("http://a/[b%25c]", "http://a/[b%25c]", None),
        ] {
            let url = Url::new(url);
            assert_eq!((&*url.unredacted(), url.zone()), (secret, zone));
        }
    }

    #[test]
    fn redirects() {
        let base = Url::new("https://u:p@h:1/a/b?q");
        for (location, expected, is_same) in [
            ("/c?d#e", "https://u:p@h:1/c?d", true),
            ("c", "https://u:p@h:1/a/c", true),
            ("?d", "https://u:p@h:1/a/b?d", true),
            ("c?d=http://x/", "https://u:p@h:1/a/c?d=http://x/", true),
            ("", "https://u:p@h:1/a/b?q", true),
            ("https://H:1/c", "https://H:1/c", true),
            ("https://h/c", "https://h/c", false),
            ("http://h:1/c", "http://h:1/c", false),
            ("//g/c", "https://g/c", false),
            ("https://h:1@g/", "https://h:1@g/", false),
        ] {
            let next = base.join(location);
            assert_eq!((&*next.unredacted(), next.is_same_server(&base)), (expected, is_same), "{location}");
        }
        assert_eq!(&*Url::new("http://h").join("c").unredacted(), "http://h/c");
        assert_eq!(&*Url::new("http://h").append_path("c/d").unredacted(), "http://h/c/d");
        assert_eq!(&*Url::new("http://h/x/").append_path("c").unredacted(), "http://h/x/c");
    }

    #[test]
    fn only_http() {
        for (url, expected) in [
            ("", Some("URL is empty. Skipping.")),
            ("ftp://h/x", Some("URL ftp://h/x does not have a valid HTTP scheme. Skipping.")),
            ("h/x", Some("URL h/x does not have a valid HTTP scheme. Skipping.")),
            ("HTTP://h/x", None),
        ] {
            let problem = Url::new(url).check().err().map(|error| error.to_string());
            assert_eq!(problem.as_deref(), expected, "{url}");
        }
        assert!(Url::new("HTTPS://h").is_encrypted() && !Url::new("http://https://").is_encrypted());
    }
}
