//! What a request's path names, and where it has to be redirected first.

use crate::clean_path::{joined, segments};
use crate::query_escape::{decode_path, encode_path};

/// The path of every key.
const KEYS_PREFIX: &[u8] = b"/v2/keys";

/// A request's path after decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestPath {
    /// Decoded and clean, but for a trailing slash that may be there.
    Clean(Vec<u8>),
    /// It has `//`, `.` or `..` in it: 301 to this `Location`, for every method.
    Redirect { location: String },
    /// An escape in it is none: 400 before any routing.
    Malformed,
}

impl RequestPath {
    /// Takes path and query as they stand in the request line.
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

/// What follows `/v2/keys` in a decoded path; `None` where the path is none of the keys'.
pub fn keys_path(path: &[u8]) -> Option<&[u8]> {
    let rest = path.strip_prefix(KEYS_PREFIX)?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

fn clean_path(path: &[u8]) -> Vec<u8> {
    let mut clean = joined(&segments(path));
    if clean.is_empty() || path.ends_with(b"/") {
        clean.push(b'/');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_paths_stay() {
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
    fn others_are_redirected() {
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
