//! `/files/APP/GROUP/VERSION/NAME`: the files of a release, with byte ranges.

use std::path::PathBuf;
use std::sync::Arc;

use http_server::body::Body;
use http_server::file::{CHUNKS_AHEAD, send};
use http_server::range::{ByteRange, parse_range};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_RANGE,
    LOCATION, RANGE, RETRY_AFTER,
};
use hyper::{HeaderMap, Method, Response, StatusCode};
use release::{FileName, files};
use rollout::Track;
use semver::Version;
use tokio::sync::{Semaphore, mpsc};

use crate::body::{HttpResponse, text};
use crate::limits::CHUNK_TIMEOUT;
use crate::release_id::ReleaseId;
use crate::server::Server;

pub const OCTETS: &str = "application/octet-stream";

/// `parameters` are those of the path.
pub async fn download(
    server: &Arc<Server>,
    parameters: &[&str],
    method: &Method,
    headers: &HeaderMap,
) -> HttpResponse {
    let not_found = || text(StatusCode::NOT_FOUND, "no such file\n");
    let [app, group, version, name] = parameters else { return not_found() };
    let (Ok(track), Ok(version), Ok(name)) =
        (group.parse::<Track>(), version.parse::<Version>(), name.parse::<FileName>())
    else {
        return not_found();
    };
    let found = {
        let state = server.state.lock();
        state.app(app).and_then(|(key, found)| {
            let package = found.package(&version, track.arch())?.clone();
            found.groups.get(&track)?;
            Some((key.to_owned(), package))
        })
    };
    let Some((app, package)) = found else { return not_found() };
    let is_metadata = name.as_str() == files::RELEASE;
    let mut all = std::iter::once(&package.payload).chain(&package.further);
    let file = all.find(|file| file.name == name.as_str());
    if !is_metadata && file.is_none() {
        return not_found();
    }
    if let Some(base_url) = package.files_at.as_ref().filter(|_| !is_metadata) {
        return redirect(&omaha::file_url(base_url, name.as_str()));
    }
    let etag = file.map(|file| format!("\"{}\"", file.sha256));
    let release = ReleaseId { app, arch: track.arch().to_owned(), version };
    let file = ServedFile { path: server.files.path(&release, &name), etag, readers: &server.readers };
    serve(server, file, method, headers).await
}

pub fn redirect(url: &str) -> HttpResponse {
    let mut response = text(StatusCode::FOUND, "the file is on another server\n");
    match HeaderValue::from_str(url) {
        Ok(url) => drop(response.headers_mut().insert(LOCATION, url)),
        Err(_) => return text(StatusCode::INTERNAL_SERVER_ERROR, "invalid URL of the file\n"),
    }
    response
}

/// A published file.
pub struct ServedFile<'a> {
    pub path: PathBuf,
    pub etag: Option<String>,
    /// Limits concurrent downloads.
    pub readers: &'a Arc<Semaphore>,
}

/// Sends a file, or a part of it.
pub async fn serve(
    server: &Arc<Server>,
    ServedFile { path, etag, readers }: ServedFile<'_>,
    method: &Method,
    headers: &HeaderMap,
) -> HttpResponse {
    let stat_path = path.clone();
    let size =
        tokio::task::spawn_blocking(move || std::fs::metadata(stat_path).map(|found| found.len())).await;
    let Ok(Ok(size)) = size else { return text(StatusCode::NOT_FOUND, "no such file\n") };
    let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // A range applies only if the file is still the same (`If-Range`).
    let is_unchanged = header(IF_RANGE).is_none_or(|of| Some(of) == etag.as_deref());
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
    if method != Method::HEAD {
        let Ok(release) = readers.clone().try_acquire_owned() else {
            let mut unavailable = text(StatusCode::SERVICE_UNAVAILABLE, "too many concurrent downloads\n");
            set_header(&mut unavailable, RETRY_AFTER, "10");
            return unavailable;
        };
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let metrics = server.metrics.clone();
        tokio::task::spawn_blocking(move || {
            metrics.sent_bytes.inc_by(send(&path, from, to, &sender, CHUNK_TIMEOUT));
            drop(release);
        });
        *response.body_mut() = Body::Stream { chunks, remaining: Some(to - from) };
    }
    if status == StatusCode::PARTIAL_CONTENT {
        set_header(&mut response, CONTENT_RANGE, &format!("bytes {from}-{}/{size}", to - 1));
    }
    set_header(&mut response, CONTENT_LENGTH, &(to - from).to_string());
    set_header(&mut response, CONTENT_TYPE, OCTETS);
    set_header(&mut response, ACCEPT_RANGES, "bytes");
    // The files of a version never change.
    set_header(&mut response, CACHE_CONTROL, "public, max-age=86400, no-transform");
    if let Some(etag) = etag {
        set_header(&mut response, ETAG, &etag);
    }
    response
}

pub fn set_header(response: &mut HttpResponse, name: hyper::header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
