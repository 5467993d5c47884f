//! `/api/apps/APP/images/ARCH/VERSION[/NAME]` and `/api/apps/APP/packages/VERSION/images`: image files are uploaded, and
//! published with a version that is published already.

use std::sync::Arc;

use hyper::body::Incoming;
use release::FileName;
use rollout::OperateError;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api_error::ApiError;
use crate::api_request::{is_url, parse_body, receive_body, release_id, version, version_and_arch};
use crate::files_error::FilesError;
use crate::release_id::ReleaseId;
use crate::repository::check_images;
use crate::server::Server;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishImagesRequest {
    #[serde(default)]
    files_at: Option<String>,
}

/// Publishes uploaded images.
pub async fn publish(server: &Arc<Server>, app: &str, package: &str, body: &[u8]) -> Result<Value, ApiError> {
    let PublishImagesRequest { files_at } = parse_body(body)?;
    if let Some(text) = files_at.as_ref().filter(|url| !is_url(url)) {
        return Err(ApiError::InvalidText { what: "files_at", text: text.clone() });
    }
    let (version, arch) = version_and_arch(package)?;
    let id = release_id(server, app, &arch, version)?;
    let board = published_board(server, &id)?;
    let repositories = &server.repositories;
    let stored = repositories.targets(&id.app);
    let stored = stored.ok_or_else(|| FilesError::Listed(repositories.missing(&id.app)))?;
    let (shared, of_task) = (server.clone(), id.clone());
    let finished = tokio::task::spawn_blocking(move || {
        let release = shared.files.release(&of_task)?;
        shared.images.publish(&of_task, &release, &stored.targets, files_at)
    });
    let images = finished.await.map_err(|_| ApiError::TaskFailed)??;
    let names: Vec<_> = images.files.iter().map(|image| image.file.name.clone()).collect();
    // Newer targets may have dropped the images meanwhile, which were not published until now.
    let _guard = repositories.of(&id.app)?.changing.clone().lock_owned().await;
    if let Some(newest) = repositories.targets(&id.app) {
        let checked = check_images(&newest.targets, &board, &id.version, &images.list.sha256);
        checked.map_err(FilesError::Listed)?;
    }
    let (result, pending) = {
        let mut state = server.state.lock();
        let result = state.set_images(&id.app, &id.version, &id.arch, images);
        (result, server.stage_changes(&mut state))
    };
    server.commit(pending).await?;
    result?;
    Ok(json!({ "ok": true, "version": id.version, "files": names }))
}

/// The board of a published version.
fn published_board(server: &Server, id: &ReleaseId) -> Result<String, ApiError> {
    let state = server.state.lock();
    let package = state.app(&id.app).and_then(|(_, app)| app.package(&id.version, &id.arch));
    let missing = || OperateError::PackageNotFound(id.version.clone(), id.arch.clone());
    Ok(package.ok_or_else(missing)?.board.clone())
}

/// Uploads one file, of any size. `images.json` first.
pub async fn upload(
    server: &Arc<Server>,
    [app, arch, number, name]: [&str; 4],
    body: Incoming,
) -> Result<Value, ApiError> {
    let name: FileName =
        name.parse().map_err(|_| ApiError::InvalidText { what: "name", text: name.to_owned() })?;
    let id = release_id(server, app, arch, version(number)?)?;
    published_board(server, &id)?;
    let (images, file_name) = (server.images.clone(), name.clone());
    receive_body(body, move |chunks, size| images.receive(&id, &name, chunks, size)).await?;
    Ok(json!({ "ok": true, "name": file_name.to_string() }))
}

/// The names of the uploaded files, and whether the images are published.
pub async fn uploaded_files(server: &Arc<Server>, [app, arch, number]: [&str; 3]) -> Result<Value, ApiError> {
    let id = release_id(server, app, arch, version(number)?)?;
    let published = server
        .state
        .lock()
        .app(&id.app)
        .and_then(|(_, app)| app.package(&id.version, arch))
        .is_some_and(|package| package.images.is_some());
    let images = server.images.clone();
    let sent = tokio::task::spawn_blocking(move || images.uploaded(&id))
        .await
        .map_err(|_| ApiError::TaskFailed)??;
    Ok(json!({ "sent": sent, "published": published }))
}
