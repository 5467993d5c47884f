//! `/files/APP/metadata/FILE` and `/files/APP/targets/PATH`: the repository of The Update Framework.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use hyper::{HeaderMap, Method, StatusCode};
use release::{FileName, files};
use rollout::{Package, Track};
use tuf::{metadata_file, role_type};

use crate::body::{HttpResponse, response, text};
use crate::download::{OCTETS, ServedFile, serve};
use crate::release_id::ReleaseId;
use crate::repository::{Unavailable, check_package, lists_images};
use crate::server::{Server, now};

/// Metadata is JSON, but clients compare its bytes.
fn found(bytes: impl Into<Bytes>) -> HttpResponse {
    response(StatusCode::OK, OCTETS, bytes)
}

fn not_found(why: impl std::fmt::Display) -> HttpResponse {
    text(StatusCode::NOT_FOUND, format!("{why}\n"))
}

/// A file of the metadata. `parameters`: application, file.
pub async fn metadata(server: &Arc<Server>, parameters: &[&str]) -> HttpResponse {
    let [app, name] = parameters else { return not_found("no such file") };
    let Some(key) = server.state.lock().app(app).map(|(key, _)| key.to_owned()) else {
        return not_found(format_args!("application {app} does not exist"));
    };
    if *name == metadata_file(role_type::TIMESTAMP, None) {
        return match timestamp(server, &key).await {
            Ok(bytes) => found(bytes),
            Err(Unavailable::Missing(nothing)) => not_found(nothing),
            Err(error) => {
                let why = service::error::chain(&error);
                tracing::error!(app, error = why, "there is no timestamp");
                // Anyone may read it: no paths of this server.
                let is_public = matches!(error, Unavailable::Sign(_));
                let why = if is_public { why } else { error.to_string() };
                text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
            }
        };
    }
    if let Some(bytes) = server.repositories.file(&key, name) {
        return found(bytes);
    }
    let Some(path) = server.repositories.older(&key, name) else { return not_found("no such file") };
    match tokio::task::spawn_blocking(move || std::fs::read(path)).await {
        Ok(Ok(bytes)) => found(bytes),
        Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
            tracing::error!(%error, app, name, "cannot read old metadata");
            text(StatusCode::SERVICE_UNAVAILABLE, "cannot read the file\n")
        }
        _ => not_found("no such file"),
    }
}

/// The timestamp: what was signed last, or signed now if a channel has changed since, or it is old.
///
/// One request signs at a time. The others wait for it, and send what it has signed.
async fn timestamp(server: &Arc<Server>, key: &str) -> Result<Bytes, Unavailable> {
    let fresh = || {
        let state = server.state.lock();
        let Some((_, app)) = state.app(key) else { return Ok(None) };
        server.repositories.fresh(key, app, now())
    };
    if let Some(bytes) = fresh()? {
        return Ok(bytes);
    }
    let changing = server.repositories.of(key)?.changing.clone();
    // Moved into the task, which also runs to its end if this request is aborted.
    let guard = changing.lock_owned().await;
    if let Some(bytes) = fresh()? {
        return Ok(bytes);
    }
    let prepared = {
        let state = server.state.lock();
        let app = state.app(key).ok_or_else(|| server.repositories.missing(key))?.1;
        server.repositories.prepare(key, app)?
    };
    let (shared, key) = (server.clone(), key.to_owned());
    let signing = tokio::task::spawn_blocking(move || {
        let _guard = guard;
        shared.repositories.sign(&key, prepared, &shared.online_key, now())
    });
    signing.await.unwrap_or_else(|_| Err(Unavailable::TaskFailed))
}

/// `SHA256.NAME`.
fn digest_and_name(file: &str) -> Option<(&str, &str)> {
    file.split_once('.')
}

pub fn release_id(app: &str, package: &Package) -> ReleaseId {
    ReleaseId { app: app.to_owned(), arch: package.arch.clone(), version: package.version.clone() }
}

/// A target file: the `release.json` of a version, or its `images.json`. `parameters`: application, board, version, file, or application,
/// channel, file.
pub async fn target(
    server: &Arc<Server>,
    parameters: &[&str],
    method: &Method,
    headers: &HeaderMap,
) -> HttpResponse {
    let Some((path, sha256)) = find_target(server, parameters) else { return not_found("no such file") };
    let file = ServedFile { path, etag: Some(format!("\"{sha256}\"")), readers: &server.readers };
    serve(server, file, method, headers).await
}

/// The path of a target, and its digest.
fn find_target(server: &Server, parameters: &[&str]) -> Option<(PathBuf, String)> {
    let state = server.state.lock();
    let (key, app) = state.app(parameters.first()?)?;
    let stored = server.repositories.targets(key)?;
    let is_release = |package: &&Package, sha256: &str| {
        package.release_sha256.as_deref() == Some(sha256) && check_package(&stored.targets, package).is_ok()
    };
    let mut packages = app.packages.values();
    let package = match parameters {
        [_, board, version, file] => {
            let (sha256, name) = digest_and_name(file)?;
            let package = packages
                .find(|package| package.board == *board && package.version.to_string() == *version)?;
            if name == files::IMAGES && lists_images(&stored.targets, package) {
                let list = &package.images.as_ref().filter(|images| images.list.sha256 == sha256)?.list;
                let path = server.images.path(&release_id(key, package), &list.name.parse().ok()?);
                return Some((path, list.sha256.clone()));
            }
            Some(package).filter(|package| name == files::RELEASE && is_release(package, sha256))?
        }
        // Of any version: a client may have older metadata.
        [_, channel, file] => {
            let (sha256, board) = digest_and_name(file)?;
            let track = Track::new(channel, omaha::architecture(board, None)).ok()?;
            app.groups.get(&track)?;
            packages.find(|package| package.board == board && is_release(package, sha256))?
        }
        _ => return None,
    };
    let path = server.files.path(&release_id(key, package), &files::RELEASE.parse::<FileName>().ok()?);
    Some((path, package.release_sha256.clone()?))
}
