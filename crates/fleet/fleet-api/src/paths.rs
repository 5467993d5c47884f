//! Paths and queries, percent-encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Prefix of the original's API.
pub const PREFIX: &str = "/fleet/v1";

/// Older prefix of the same API.
pub const ALTERNATIVE_PREFIX: &str = "/v1-alpha";

/// All characters but those that need no escape in a path segment or query value.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@').remove(b':');

/// `prefix` with percent-encoded segments.
pub fn path(prefix: &str, segments: &[&str]) -> String {
    let mut path = prefix.to_owned();
    for segment in segments {
        path.push('/');
        path.extend(utf8_percent_encode(segment, ESCAPED));
    }
    path
}

/// The query of a URL. The original's client always sends `alt=json`, which servers ignore.
#[derive(Debug, Clone)]
pub struct Query(String);

impl Default for Query {
    fn default() -> Self {
        Self("alt=json".to_owned())
    }
}

impl Query {
    /// Appends a parameter; names may repeat.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push('&');
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, ESCAPED));
        self
    }

    /// Omits an empty value.
    pub fn with_some(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.with(name, value) }
    }

    /// Percent-encoded, without the `?`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
