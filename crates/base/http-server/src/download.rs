//! A file as a response: whole or one range of it, for GET and HEAD.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_RANGE,
    RANGE, RETRY_AFTER,
};
use hyper::{HeaderMap, Method, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::spawn_blocking;

use crate::body::Body;
use crate::file::{CHUNKS_AHEAD, send};
use crate::range::{ByteRange, parse_range};

/// Value of `Retry-After` if there are too many downloads, in seconds.
const RETRY_SECONDS: &str = "10";

/// A file to send.
#[derive(Debug, Clone)]
pub struct Download {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// Quoted entity tag. A range with `If-Range` applies only if it is equal.
    pub etag: Option<String>,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// How long the client may accept no chunk.
    pub chunk_timeout: Duration,
}

/// A finished transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Bytes handed to the connection.
    pub bytes: u64,
    /// Whether they end with the file's last byte and include all of the range.
    pub reached_end: bool,
}

impl Download {
    /// Status 200, 206, 416, or, without `permit` (there are too many downloads), 503. `finished` runs after a transfer.
    pub fn respond(
        self,
        method: &Method,
        headers: &HeaderMap,
        permit: Option<OwnedSemaphorePermit>,
        finished: impl FnOnce(Sent) + Send + 'static,
    ) -> Response<Body> {
        let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let is_unchanged = header(IF_RANGE).is_none_or(|of| Some(of) == self.etag.as_deref());
        let size = self.size;
        let (status, from, to) = match parse_range(header(RANGE).filter(|_| is_unchanged), size) {
            ByteRange::Full => (StatusCode::OK, 0, size),
            ByteRange::Bytes(from, to) => (StatusCode::PARTIAL_CONTENT, from, to),
            ByteRange::Unsatisfiable => {
                let mut response = text(StatusCode::RANGE_NOT_SATISFIABLE, "range not satisfiable\n");
                set_header(&mut response, CONTENT_RANGE, &format!("bytes */{size}"));
                return response;
            }
        };
        let mut response = Response::new(Body::Full(None));
        *response.status_mut() = status;
        if status == StatusCode::PARTIAL_CONTENT {
            set_header(&mut response, CONTENT_RANGE, &format!("bytes {from}-{}/{size}", to - 1));
        }
        set_header(&mut response, CONTENT_LENGTH, &(to - from).to_string());
        set_header(&mut response, CONTENT_TYPE, self.content_type);
        set_header(&mut response, ACCEPT_RANGES, "bytes");
        if let Some(etag) = &self.etag {
            set_header(&mut response, ETAG, etag);
        }
        if method != Method::HEAD {
            let Some(permit) = permit else {
                let mut busy = text(StatusCode::SERVICE_UNAVAILABLE, "too many concurrent downloads\n");
                set_header(&mut busy, RETRY_AFTER, RETRY_SECONDS);
                return busy;
            };
            *response.body_mut() = self.stream(from, to, permit, finished);
        }
        response
    }

    fn stream(
        self,
        from: u64,
        to: u64,
        permit: OwnedSemaphorePermit,
        finished: impl FnOnce(Sent) + Send + 'static,
    ) -> Body {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        spawn_blocking(move || {
            let bytes = send(&self.path, from, to, &sender, self.chunk_timeout);
            finished(Sent { bytes, reached_end: bytes == to - from && to == self.size });
            drop(permit);
        });
        Body::Stream { chunks, remaining: Some(to - from) }
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::Full(Some(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = status;
    set_header(&mut response, CONTENT_TYPE, "text/plain; charset=utf-8");
    response
}

/// Sets a header unless the value is none, as with control characters.
pub fn set_header(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt;
    use tokio::sync::{Semaphore, oneshot};

    use super::*;

    const ETAG_OF_FILE: &str = "\"a\"";

    struct Expected {
        status: u16,
        range: Option<&'static str>,
        body: &'static str,
        sent: Option<Sent>,
    }

    async fn check(method: Method, headers: &[(HeaderName, &str)], has_permit: bool, expected: Expected) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        let file = Download {
            path,
            size: 10,
            etag: Some(ETAG_OF_FILE.to_owned()),
            content_type: "text/plain",
            chunk_timeout: Duration::from_secs(9),
        };
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let permit = if has_permit { Arc::new(Semaphore::new(1)).acquire_owned().await.ok() } else { None };
        let (sender, sent) = oneshot::channel();
        let response = file.respond(&method, &headers, permit, |sent| sender.send(sent).unwrap());
        assert_eq!(response.status(), expected.status);
        let range = response.headers().get(CONTENT_RANGE).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(range.as_deref(), expected.range);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected.body);
        assert_eq!(sent.await.ok(), expected.sent);
    }

    #[tokio::test]
    async fn whole_files_and_ranges() {
        const PART: &[(HeaderName, &str)] = &[(RANGE, "bytes=2-4")];
        let all = Sent { bytes: 10, reached_end: true };
        let part = |sent| Expected { status: 206, range: Some("bytes 2-4/10"), body: "234", sent };
        check(
            Method::GET,
            &[],
            true,
            Expected { status: 200, range: None, body: "0123456789", sent: Some(all) },
        )
        .await;
        check(Method::GET, PART, true, part(Some(Sent { bytes: 3, reached_end: false }))).await;
        check(Method::HEAD, PART, true, Expected { body: "", ..part(None) }).await;
        check(
            Method::GET,
            &[(RANGE, "bytes=8-")],
            true,
            Expected {
                status: 206,
                range: Some("bytes 8-9/10"),
                body: "89",
                sent: Some(Sent { bytes: 2, reached_end: true }),
            },
        )
        .await;
        let past_the_end =
            Expected { status: 416, range: Some("bytes */10"), body: "range not satisfiable\n", sent: None };
        check(Method::GET, &[(RANGE, "bytes=10-")], true, past_the_end).await;
        let busy = Expected { status: 503, range: None, body: "too many concurrent downloads\n", sent: None };
        check(Method::GET, &[], false, busy).await;
        check(Method::HEAD, &[], false, Expected { status: 200, range: None, body: "", sent: None }).await;
    }

    #[tokio::test]
    async fn a_range_of_a_changed_file_is_the_whole_file() {
        let whole = || Expected {
            status: 200,
            range: None,
            body: "0123456789",
            sent: Some(Sent { bytes: 10, reached_end: true }),
        };
        check(Method::GET, &[(RANGE, "bytes=2-4"), (IF_RANGE, "\"b\"")], true, whole()).await;
        let part = Expected {
            status: 206,
            range: Some("bytes 2-4/10"),
            body: "234",
            sent: Some(Sent { bytes: 3, reached_end: false }),
        };
        check(Method::GET, &[(RANGE, "bytes=2-4"), (IF_RANGE, ETAG_OF_FILE)], true, part).await;
    }
}
