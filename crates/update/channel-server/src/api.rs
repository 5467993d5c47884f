//! `/api`: the JSON API for operators (contract 1.4.8). Callers check the authorization.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_server::file::CHUNKS_AHEAD;
use hyper::StatusCode;
use hyper::body::Incoming;
use release::FileName;
use rollout::{Policy, Track, UpdateState, is_identifier};
use semver::Version;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::api_error::{ApiError, app_key};
use crate::body::{HttpResponse, json as json_response};
use crate::endpoint::Change;
use crate::files::FilesError;
use crate::keys_api;
use crate::limits::CHUNK_TIMEOUT;
use crate::release_id::ReleaseId;
use crate::repository::check_package;
use crate::server::{Server, now, zones};
use crate::warnings::{with_floors, with_paused};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PointRequest {
    version: Option<Version>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromoteRequest {
    from: Track,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupRequest {
    channel: Track,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReasonRequest {
    #[serde(default)]
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AliasRequest {
    alias: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishRequest {
    version: Version,
    arch: String,
    #[serde(default)]
    files_at: Option<String>,
    /// Channel to point to the version after publishing.
    #[serde(default)]
    channel: Option<Track>,
}

fn parse_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    Ok(serde_json::from_slice(if body.is_empty() { b"{}" } else { body })?)
}

fn version(text: &str) -> Result<Version, ApiError> {
    text.parse().map_err(|_| ApiError::InvalidVersion(text.chars().take(80).collect()))
}

/// `2.0.0` or `2.0.0@aarch64`.
fn version_and_arch(text: &str) -> Result<(Version, String), ApiError> {
    let (text, arch) = text.split_once('@').unwrap_or((text, "amd64"));
    Ok((version(text)?, arch.to_owned()))
}

/// Handles every request that changes state, except uploads.
pub async fn apply_change(
    server: &Arc<Server>,
    change: Change,
    parameters: &[&str],
    body: &[u8],
) -> Result<Value, ApiError> {
    match (change, parameters) {
        (Change::Publish, [app]) => return publish(server, app, parse_body(body)?).await,
        (Change::PublishMetadata, [app]) => return keys_api::publish(server, app, parse_body(body)?).await,
        _ => {}
    }
    let (result, pending) = {
        let mut state = server.state.lock();
        let result = operate(&mut state, change, parameters, body);
        // A rejected command may still have changed state, for example created a channel.
        (result, server.stage_changes(&mut state))
    };
    server.commit(pending).await?;
    if let (Ok(_), Change::RemovePackage, [app, package]) = (&result, change, parameters) {
        let (version, arch) = version_and_arch(package)?;
        let release = release_id(server, app, &arch, version)?;
        let files = server.files.clone();
        tokio::task::spawn_blocking(move || files.remove(&release))
            .await
            .map_err(|_| ApiError::TaskFailed)??;
    }
    result
}

fn operate(
    state: &mut UpdateState,
    change: Change,
    parameters: &[&str],
    body: &[u8],
) -> Result<Value, ApiError> {
    let now = now();
    let track = |text: &str| -> Result<Track, ApiError> { Ok(text.parse::<Track>()?) };
    match (change, parameters) {
        (Change::SetApp, []) => state.put_app(parse_body(body)?)?,
        (Change::PointChannel, [app, channel]) => {
            let (channel, point) = (track(channel)?, parse_body::<PointRequest>(body)?);
            state.ensure_channel(app, &channel, now)?;
            state.point_channel(app, &channel, point.version.as_ref(), now)?;
            return Ok(with_paused(state, app, &channel, json!({ "ok": true })));
        }
        (Change::RemoveChannel, [app, channel]) => state.remove_channel(app, &track(channel)?, now)?,
        (Change::Promote, [app, channel]) => {
            let (channel, from) = (track(channel)?, parse_body::<PromoteRequest>(body)?.from);
            state.ensure_channel(app, &channel, now)?;
            let version = state.promote(app, &from, &channel, now)?;
            return Ok(with_paused(state, app, &channel, json!({ "ok": true, "version": version })));
        }
        (Change::AddFloor, [app, channel, floor]) => {
            state.add_floor(app, &track(channel)?, &version(floor)?, now)?;
        }
        (Change::RemoveFloor, [app, channel, floor]) => {
            state.remove_floor(app, &track(channel)?, &version(floor)?, now)?;
        }
        (Change::SetGroup, [app, group]) => {
            state.put_group(app, &track(group)?, &parse_body::<GroupRequest>(body)?.channel, now)?;
        }
        (Change::RemoveGroup, [app, group]) => state.remove_group(app, &track(group)?, now)?,
        (Change::SetPolicy, [app, group]) => {
            state.set_policy(app, &track(group)?, parse_body::<Policy>(body)?, now, &zones)?;
        }
        (Change::Pause, [app, group]) => {
            state.pause(app, &track(group)?, &parse_body::<ReasonRequest>(body)?.why, now)?;
        }
        (Change::Resume, [app, group]) => state.resume(app, &track(group)?, now)?,
        (Change::RemovePackage, [app, package]) => {
            let (version, arch) = version_and_arch(package)?;
            state.remove_package(app, &version, &arch)?;
        }
        (Change::Ban, [app, package]) => {
            let (version, arch) = version_and_arch(package)?;
            state.ban(app, &version, &arch, Some(&parse_body::<ReasonRequest>(body)?.why), now)?;
            return Ok(with_floors(state, app, (&version, &arch), json!({ "ok": true })));
        }
        (Change::Unban, [app, package]) => {
            let (version, arch) = version_and_arch(package)?;
            state.ban(app, &version, &arch, None, now)?;
        }
        (Change::NameInstance, [app, machine]) => {
            state.name_machine(app, machine, parse_body::<AliasRequest>(body)?.alias.as_deref())?;
        }
        (Change::ResetInstance, [app, machine]) => state.reset_machine(app, machine, now)?,
        (Change::ForgetInstance, [app, machine]) => state.forget_machine(app, machine)?,
        // invariant: the routes have these parameters, and `apply_change` handles the others.
        _ => return Err(ApiError::NotFound),
    }
    Ok(json!({ "ok": true }))
}

fn release_id(server: &Server, app: &str, arch: &str, version: Version) -> Result<ReleaseId, ApiError> {
    let app = app_key(server, app)?;
    if !is_identifier(arch) {
        return Err(ApiError::InvalidText { what: "arch", text: arch.to_owned() });
    }
    Ok(ReleaseId { app, arch: arch.to_owned(), version })
}

/// Publishes an uploaded release, so that channels can point to it.
async fn publish(server: &Arc<Server>, app: &str, publish: PublishRequest) -> Result<Value, ApiError> {
    if let Some(text) = publish.files_at.as_ref().filter(|url| !is_url(url)) {
        return Err(ApiError::InvalidText { what: "files_at", text: text.clone() });
    }
    let release = release_id(server, app, &publish.arch, publish.version)?;
    let repositories = &server.repositories;
    let stored = repositories.targets(&release.app);
    let stored = stored.ok_or_else(|| FilesError::Listed(repositories.missing(&release.app)))?;
    let (shared, release_of_task) = (server.clone(), release.clone());
    let finished = tokio::task::spawn_blocking(move || {
        shared.files.publish(&release_of_task, &stored.targets, publish.files_at, now())
    });
    let package = finished.await.map_err(|_| ApiError::TaskFailed)??;
    let version = package.version.clone();
    let response = json!({ "ok": true, "version": version, "channel": publish.channel });
    // Newer targets may have dropped the release meanwhile, which was not published until now.
    let _guard = repositories.of(&release.app)?.changing.clone().lock_owned().await;
    if let Some(newest) = repositories.targets(&release.app) {
        check_package(&newest.targets, &package).map_err(FilesError::Listed)?;
    }
    let (result, pending) = {
        let mut state = server.state.lock();
        let result = state.add_package(&release.app, package).and_then(|()| match &publish.channel {
            Some(channel) => {
                state.ensure_channel(&release.app, channel, now())?;
                state.point_channel(&release.app, channel, Some(&version), now())?;
                Ok(with_paused(&state, &release.app, channel, response))
            }
            None => Ok(response),
        });
        (result, server.stage_changes(&mut state))
    };
    server.commit(pending).await?;
    Ok(result?)
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
    })
}

/// `PUT /api/apps/APP/uploads/ARCH/VERSION/NAME`: uploads one file of a release, of any size.
pub async fn upload(
    server: &Arc<Server>,
    [app, arch, number, name]: [&str; 4],
    mut body: Incoming,
) -> Result<Value, ApiError> {
    let name: FileName =
        name.parse().map_err(|_| ApiError::InvalidText { what: "name", text: name.to_owned() })?;
    let release = release_id(server, app, arch, version(number)?)?;
    let (send, chunks) = mpsc::channel::<Bytes>(CHUNKS_AHEAD);
    let size = hyper::body::Body::size_hint(&body).exact();
    let (files, file_name) = (server.files.clone(), name.clone());
    let receiving = tokio::task::spawn_blocking(move || files.receive(&release, &name, chunks, size));
    let mut complete = true;
    loop {
        match timeout(CHUNK_TIMEOUT, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(chunk) = frame.into_data()
                    && send.send(chunk).await.is_err()
                {
                    // The receiver failed. Its error is returned below.
                    break;
                }
            }
            Ok(None) => break,
            Ok(Some(Err(_))) | Err(_) => {
                complete = false;
                break;
            }
        }
    }
    drop(send);
    let received = receiving.await.map_err(|_| ApiError::TaskFailed)?;
    if !complete {
        return Err(FilesError::Interrupted.into());
    }
    received?;
    Ok(json!({ "ok": true, "name": file_name.to_string() }))
}

/// `GET /api/apps/APP/uploads/ARCH/VERSION`: the names of the uploaded files of a release.
pub async fn uploaded_files(server: &Arc<Server>, [app, arch, number]: [&str; 3]) -> Result<Value, ApiError> {
    let release = release_id(server, app, arch, version(number)?)?;
    let published = server
        .state
        .lock()
        .app(&release.app)
        .is_some_and(|(_, app)| app.package(&release.version, arch).is_some());
    let files = server.files.clone();
    let sent = tokio::task::spawn_blocking(move || files.uploaded(&release))
        .await
        .map_err(|_| ApiError::TaskFailed)??;
    Ok(json!({ "sent": sent, "published": published }))
}

pub fn to_response(value: Result<Value, ApiError>) -> HttpResponse {
    match value {
        Ok(value) => json_response(StatusCode::OK, &value),
        Err(error) => error.response(),
    }
}
