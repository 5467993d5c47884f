//! URLs of requests and redirects.

use ureq::http::Uri;

/// An absolute URL of HTTP or HTTPS without user name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    pub secure: bool,
    /// Host and port, in lower case.
    pub authority: String,
    /// With the query; begins with `/`.
    pub path: String,
}

impl Url {
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?.as_str().to_ascii_lowercase();
        if authority.is_empty() || authority.contains('@') {
            return None;
        }
        let default_port = if secure { ":443" } else { ":80" };
        let authority = authority.strip_suffix(default_port).unwrap_or(&authority).to_owned();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some(Self { secure, authority, path })
    }

    /// The target of a redirect: an absolute URL, or a path of the same server.
    pub fn redirected(&self, location: &str) -> Option<Self> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Some(Self { path: location.to_owned(), ..self.clone() });
        }
        Self::parse(location)
    }

    pub fn with_path(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }

    /// Whether credentials for one are for the other: the same scheme, host and port.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        (self.secure, &self.authority) == (other.secure, &other.authority)
    }

    /// The host without its port.
    pub fn host(&self) -> &str {
        host(&self.authority)
    }

    /// For messages: without the query, which may have secrets.
    pub fn redacted(&self) -> String {
        update_worker::redact_url(&self.text())
    }

    pub fn text(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.path)
    }
}

/// Removes the port.
pub fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved() {
        let check = |location: &str, expected: Option<(&str, bool)>| {
            let base = Url::parse("https://Registry.example:443/v2/").unwrap();
            let found = base.redirected(location).map(|url| (url.text(), base.is_same_origin(&url)));
            assert_eq!(found, expected.map(|(text, same)| (text.to_owned(), same)), "{location}");
        };
        check("/blob?x=1", Some(("https://registry.example/blob?x=1", true)));
        check("https://registry.example/a", Some(("https://registry.example/a", true)));
        check("https://registry.example:443", Some(("https://registry.example/", true)));
        check("http://registry.example/a", Some(("http://registry.example/a", false)));
        check("https://registry.example:5000/a", Some(("https://registry.example:5000/a", false)));
        check("https://cdn.example/a", Some(("https://cdn.example/a", false)));
        check("https://u:p@cdn.example/a", None);
        check("//cdn.example/a", None);
        check("file:///etc/passwd", None);
        check("a/b", None);
        check("", None);
    }
}
