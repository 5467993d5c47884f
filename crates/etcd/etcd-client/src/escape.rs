//! Escaping of URL paths and parameters as in Go's `net/url`, which `--debug` output depends on.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};

const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

const PATH: &AsciiSet = &QUERY
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// `/v2/keys` and the key: empty and `.` segments removed, `..` resolved, a trailing slash kept.
pub fn key_path(key: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in key.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let end = if key.ends_with('/') { "/" } else { "" };
    let slash = if segments.is_empty() { "" } else { "/" };
    format!("/v2/keys{slash}{}{end}", utf8_percent_encode(&segments.join("/"), PATH))
}

/// A path segment, with slashes escaped.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

/// `a=1&b=2`, sorted by name.
pub fn form<V: AsRef<[u8]>>(parameters: &[(&str, V)]) -> String {
    let mut sorted: Vec<_> = parameters.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    let escaped = |text: &[u8]| percent_encode(text, QUERY).to_string().replace("%20", "+");
    let pairs: Vec<_> = sorted
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name.as_bytes()), escaped(value.as_ref())))
        .collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let cases = [
            ("/foo", "/v2/keys/foo"),
            ("foo/bar", "/v2/keys/foo/bar"),
            ("/", "/v2/keys/"),
            ("", "/v2/keys"),
            ("//a//b/../c/./", "/v2/keys/a/c/"),
            ("/sp ace/ü?#%", "/v2/keys/sp%20ace/%C3%BC%3F%23%25"),
            ("/a:b@c=d", "/v2/keys/a:b@c=d"),
            ("/../..", "/v2/keys"),
        ];
        for (key, expect) in cases {
            assert_eq!(key_path(key), expect, "{key}");
        }
    }

    #[test]
    fn forms() {
        let given = [("value", "a b+c&\n".to_owned()), ("ttl", "5".to_owned())];
        assert_eq!(form(&given), "ttl=5&value=a+b%2Bc%26%0A");
    }
}
