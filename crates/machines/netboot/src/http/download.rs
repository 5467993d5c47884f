//! `/files/NAME`: files of images, with byte ranges.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use http_server::body::Body;
use http_server::file::{CHUNKS_AHEAD, send};
use http_server::range::{ByteRange, parse_range};
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_RANGE,
    RANGE, RETRY_AFTER,
};
use hyper::{HeaderMap, Method, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::http::response::{HttpResponse, text};
use crate::limits::CHUNK_TIMEOUT;
use crate::server::Server;

/// A file by its name, which is percent-decoded already.
pub async fn download(
    server: &Arc<Server>,
    name: &str,
    method: &Method,
    headers: &HeaderMap,
    from: IpAddr,
) -> HttpResponse {
    let not_found = || text(StatusCode::NOT_FOUND, "no such file\n");
    let Some(path) = server.file(name) else { return not_found() };
    let opened = path.clone();
    let Ok(Ok(data)) = spawn_blocking(move || std::fs::metadata(opened)).await else { return not_found() };
    let (size, etag) = (data.len(), format!("\"{:x}-{:x}-{:x}\"", data.ino(), data.mtime(), data.len()));
    let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // A range applies only if the file is still the same.
    let is_unchanged = header(IF_RANGE).is_none_or(|of| of == etag);
    let (status, start, end) = match parse_range(header(RANGE).filter(|_| is_unchanged), size) {
        ByteRange::Full => (StatusCode::OK, 0, size),
        ByteRange::Bytes(start, end) => (StatusCode::PARTIAL_CONTENT, start, end),
        ByteRange::Unsatisfiable => {
            let mut response = text(StatusCode::RANGE_NOT_SATISFIABLE, "range not satisfiable\n");
            set_header(&mut response, CONTENT_RANGE, &format!("bytes */{size}"));
            return response;
        }
    };
    let mut response = Response::new(Body::Full(None));
    if method != Method::HEAD {
        match stream(server, path, name.to_owned(), (start, end, size), from) {
            Some(body) => *response.body_mut() = body,
            None => {
                let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "too many concurrent downloads\n");
                set_header(&mut response, RETRY_AFTER, "10");
                return response;
            }
        }
    }
    *response.status_mut() = status;
    if status == StatusCode::PARTIAL_CONTENT {
        set_header(&mut response, CONTENT_RANGE, &format!("bytes {start}-{}/{size}", end - 1));
    }
    set_header(&mut response, CONTENT_LENGTH, &(end - start).to_string());
    // Firmware decides by it, or by the name, that a file is a program.
    let kind = if name.ends_with(".efi") { "application/efi" } else { "application/octet-stream" };
    set_header(&mut response, CONTENT_TYPE, kind);
    set_header(&mut response, ACCEPT_RANGES, "bytes");
    set_header(&mut response, ETAG, &etag);
    response
}

/// `None` if there are too many downloads.
fn stream(
    server: &Arc<Server>,
    path: PathBuf,
    name: String,
    (start, end, size): (u64, u64, u64),
    from: IpAddr,
) -> Option<Body> {
    let permit = server.downloads.clone().try_acquire_owned().ok()?;
    let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
    let server = server.clone();
    spawn_blocking(move || {
        let sent = send(&path, start, end, &sender, CHUNK_TIMEOUT);
        // The end is the last part that a client loads.
        if sent == end - start && end == size {
            server.loaded(from, &name);
        }
        drop(permit);
    });
    Some(Body::Stream { chunks, remaining: Some(end - start) })
}

fn set_header(response: &mut HttpResponse, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
