//! `/files/NAME`: files of images, with byte ranges.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use http_server::download::Download;
use hyper::{HeaderMap, Method, StatusCode};
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
    let file = Download {
        path,
        size: data.len(),
        etag: Some(format!("\"{:x}-{:x}-{:x}\"", data.ino(), data.mtime(), data.len())),
        // Firmware decides by it, or by the name, that a file is a program.
        content_type: if name.ends_with(".efi") { "application/efi" } else { "application/octet-stream" },
        chunk_timeout: CHUNK_TIMEOUT,
    };
    let permit = server.downloads.clone().try_acquire_owned().ok();
    let (server, name) = (server.clone(), name.to_owned());
    file.respond(method, headers, permit, move |sent| {
        // The end is the last part that a client loads.
        if sent.reached_end {
            server.loaded(from, &name);
        }
    })
}
