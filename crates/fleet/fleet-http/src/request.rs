//! What a request asks for: its path and its query, taken apart, and its type.

use fleet_api::{ErrorDocument, PageToken};
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;

use crate::answer::refuse;

/// Decoded. Unknown parameters are passed over: nobody asks for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Of `/`, one that is empty; of what does not begin with a slash, none.
    pub segments: Vec<String>,
    query: Vec<(String, String)>,
}

impl Target {
    /// The whole path is decoded before it is taken apart, as Go does: `%2F` is a slash.
    pub fn of(uri: &Uri) -> Self {
        let path = percent_decode_str(uri.path()).decode_utf8_lossy();
        let segments = path.strip_prefix('/').map(|path| path.split('/').map(str::to_owned).collect());
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned();
        Self { segments: segments.unwrap_or_default(), query: query.collect() }
    }

    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value; none where it is empty.
    pub fn value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.values(name).next().filter(|value| !value.is_empty())
    }

    /// Which page is asked for, where pages have `limit` items.
    pub fn page(&self, limit: u16) -> Result<PageToken, ErrorDocument> {
        PageToken::from_query(self.values("nextPageToken"), limit)
            .map_err(|error| refuse(400, error.to_string()))
    }
}

/// Requests that change something say that they are JSON: a page in a browser cannot say so of itself.
pub fn must_be_json(headers: &HeaderMap) -> Result<(), ErrorDocument> {
    let values: Vec<_> = headers.get_all(CONTENT_TYPE).iter().collect();
    let [value] = values[..] else {
        return Err(refuse(415, format!("expected 1 Content-Type, got {}", values.len())));
    };
    let media = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    if media.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(refuse(415, "only acceptable Content-Type is application/json"))
}
