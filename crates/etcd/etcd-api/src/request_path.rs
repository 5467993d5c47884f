//! Request paths, and redirects to clean ones.

use crate::clean_path::{join, segments};
use crate::query_escape::{decode_path, encode_path};

/// The prefix of all keys.
const KEYS_PREFIX: &[u8] = b"/v2/keys";

/// A decoded request path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestPath {
    /// Decoded and clean, except for an optional trailing slash.
    Clean(Vec<u8>),
    /// Contains `//`, `.` or `..`: 301 to this `Location`, for every method.
    Redirect {
        /// The clean path, with the query.
        location: String,
    },
    /// Contains an invalid escape: 400 before routing.
    Malformed,
}

impl RequestPath {
    /// Takes the path and query of the request line.
    pub fn parse(raw_path: &str, raw_query: Option<&str>) -> Self {
        let Ok(path) = decode_path(raw_path.as_bytes()) else {
            return Self::Malformed;
        };
        let clean = clean_path(&path);
        if clean == *path {
            return Self::Clean(clean);
        }
        let mut location = encode_path(&clean);
        if let Some(query) = raw_query.filter(|query| !query.is_empty()) {
            location.push('?');
            location.push_str(query);
        }
        Self::Redirect { location }
    }
}

/// The rest after `/v2/keys` in a decoded path; `None` for other paths.
pub fn keys_path(path: &[u8]) -> Option<&[u8]> {
    let rest = path.strip_prefix(KEYS_PREFIX)?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

fn clean_path(path: &[u8]) -> Vec<u8> {
    let mut clean = join(&segments(path));
    if clean.is_empty() || path.ends_with(b"/") {
        clean.push(b'/');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_paths_are_unchanged() {
        for (raw, decoded) in [
            ("/v2/keys/foo", "/v2/keys/foo"),
            ("/v2/keys/foo/", "/v2/keys/foo/"),
            ("/v2/keys/sp%20ace%2Fslash", "/v2/keys/sp ace/slash"),
            ("/", "/"),
        ] {
            assert_eq!(RequestPath::parse(raw, None), RequestPath::Clean(decoded.into()), "{raw}");
        }
    }

    #[test]
    fn unclean_paths_are_redirected() {
        for (raw, query, location) in [
            ("/v2/keys//foo", None, "/v2/keys/foo"),
            ("/v2/keys/a/../b%20c", Some("x=1&y"), "/v2/keys/b%20c?x=1&y"),
            ("/v2/keys/a/%2e%2e/b", Some(""), "/v2/keys/b"),
            ("/v2/keys/a//", None, "/v2/keys/a/"),
            ("/v2/keys/./a", None, "/v2/keys/a"),
            ("/../..", None, "/"),
            ("", None, "/"),
        ] {
            let expect = RequestPath::Redirect { location: location.to_owned() };
            assert_eq!(RequestPath::parse(raw, query), expect, "{raw}");
        }
        assert_eq!(RequestPath::parse("/v2/keys/%zz", None), RequestPath::Malformed);
    }

    #[test]
    fn the_prefix_ends_at_a_slash() {
        assert_eq!(keys_path(b"/v2/keys"), Some(&b""[..]));
        assert_eq!(keys_path(b"/v2/keys/a"), Some(&b"/a"[..]));
        assert_eq!(keys_path(b"/v2/keysfoo"), None);
        assert_eq!(keys_path(b"/v1/keys/a"), None);
    }
}
