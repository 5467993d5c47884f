//! Parses path, query and content type of a request.

use fleet_api::{ErrorDocument, PageToken};
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;

use crate::response::api_error;

/// The decoded path and query. Unknown parameters are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// One empty segment for `/`; no segments if the path does not start with a slash.
    pub segments: Vec<String>,
    query: Vec<(String, String)>,
}

impl Target {
    /// Decodes the path before splitting it, as Go does: `%2F` is a slash.
    pub fn from_uri(uri: &Uri) -> Self {
        let path = percent_decode_str(uri.path()).decode_utf8_lossy();
        let segments = path.strip_prefix('/').map(|path| path.split('/').map(str::to_owned).collect());
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned();
        Self { segments: segments.unwrap_or_default(), query: query.collect() }
    }

    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value, unless it is empty.
    pub fn value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.values(name).next().filter(|value| !value.is_empty())
    }

    /// The requested page, of `limit` items by default.
    pub fn page(&self, limit: u16) -> Result<PageToken, ErrorDocument> {
        PageToken::from_query(self.values("nextPageToken"), limit)
            .map_err(|error| api_error(400, error.to_string()))
    }
}

/// Changes require the content type JSON, which protects against cross-site requests by browsers.
pub fn require_json(headers: &HeaderMap) -> Result<(), ErrorDocument> {
    let values: Vec<_> = headers.get_all(CONTENT_TYPE).iter().collect();
    let [value] = values[..] else {
        return Err(api_error(415, format!("expected 1 Content-Type, got {}", values.len())));
    };
    let media = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    if media.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(api_error(415, "only acceptable Content-Type is application/json"))
}
