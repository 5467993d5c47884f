//! Where things are: paths and queries, escaped.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What all paths of the original's API begin with.
pub const PREFIX: &str = "/fleet/v1";

/// The same API under its first name.
pub const ALTERNATIVE_PREFIX: &str = "/v1-alpha";

/// What needs no escape in a path segment or a query's value.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@').remove(b':');

/// `prefix` and the segments below it, each escaped.
pub fn path(prefix: &str, segments: &[&str]) -> String {
    let mut path = prefix.to_owned();
    for segment in segments {
        path.push('/');
        path.extend(utf8_percent_encode(segment, ESCAPED));
    }
    path
}

/// The part of an address after `?`. The original's client always says `alt=json`, and servers pass over it.
#[derive(Debug, Clone)]
pub struct Query(String);

impl Default for Query {
    fn default() -> Self {
        Self("alt=json".to_owned())
    }
}

impl Query {
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push('&');
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, ESCAPED));
        self
    }

    /// Without an empty value.
    pub fn with_some(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.with(name, value) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
