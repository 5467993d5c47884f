//! `/files/APP/GROUP/VERSION/NAME`: the files of a release, with byte ranges.

use std::path::PathBuf;
use std::sync::Arc;

use http_server::download::{Download, set_header};
use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use hyper::{HeaderMap, Method, StatusCode};
use release::{FileName, files};
use rollout::Track;
use semver::Version;
use tokio::sync::Semaphore;

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
    let file = Download { path, size, etag, content_type: OCTETS, chunk_timeout: CHUNK_TIMEOUT };
    let (permit, metrics) = (readers.clone().try_acquire_owned().ok(), server.metrics.clone());
    let mut response = file.respond(method, headers, permit, move |sent| {
        metrics.sent_bytes.inc_by(sent.bytes);
    });
    // The files of a version never change.
    let caching =
        if response.status().is_success() { "public, max-age=86400, no-transform" } else { "no-store" };
    set_header(&mut response, CACHE_CONTROL, caching);
    response
}
