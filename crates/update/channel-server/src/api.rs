//! `/api`: what operators and their programs ask and do, in JSON (contract 1.4.8). Who may is decided before.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use release::FileName;
use rollout::{Fleet, OperateError, Policy, Track, is_word};
use semver::Version;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::body::{Answer, failed, json as json_answer};
use crate::files::FilesError;
use crate::key_sets::KeySetError;
use crate::limits::{PIECE_TIME, PIECES};
use crate::place::Place;
use crate::server::{Server, now, zones};
use crate::warnings::{with_floors, with_paused};

/// A request to the API: its path behind `/api/`, cut at slashes and decoded.
pub struct Call<'a> {
    pub method: &'a Method,
    pub words: Vec<&'a str>,
    pub body: &'a [u8],
}

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("there is nothing at this path, or it does not take this method")]
    NotHere,
    #[error("this is not the JSON that is wanted here: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0:?} is no version")]
    Version(String),
    #[error(transparent)]
    Track(#[from] rollout::NoTrack),
    #[error("{}", causes(.0))]
    Operate(#[from] OperateError),
    #[error("{}", causes(.0))]
    Files(#[from] FilesError),
    #[error("{}", causes(.0))]
    KeySet(#[from] KeySetError),
    #[error("{what} {text:?} cannot be")]
    Text { what: &'static str, text: String },
    #[error("what was done could not be kept: {0}")]
    Kept(#[from] crate::store::StoreError),
    #[error("the work broke off")]
    BrokeOff,
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotHere => StatusCode::NOT_FOUND,
            Self::Operate(
                OperateError::NoApp(_)
                | OperateError::NoChannel(_)
                | OperateError::NoGroup(_)
                | OperateError::NoMachine(_)
                | OperateError::NoPackage(..),
            ) => StatusCode::NOT_FOUND,
            Self::Operate(
                OperateError::Different(_)
                | OperateError::InUse(..)
                | OperateError::ChannelInUse(..)
                | OperateError::NotForChannel { .. }
                | OperateError::Banned(..)
                | OperateError::Empty(_),
            )
            | Self::Files(FilesError::Different(_) | FilesError::Missing(_)) => StatusCode::CONFLICT,
            Self::KeySet(KeySetError::Different(_) | KeySetError::Older { .. } | KeySetError::Full(_)) => {
                StatusCode::CONFLICT
            }
            Self::KeySet(KeySetError::Io(..))
            | Self::Files(FilesError::Io(..))
            | Self::Kept(_)
            | Self::BrokeOff => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    pub fn answer(&self) -> Answer {
        if self.status().is_server_error() {
            tracing::error!(error = %self, "a request to the API failed");
        }
        failed(self.status(), self)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Point {
    version: Option<Version>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Promote {
    from: Track,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGroup {
    channel: Track,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    #[serde(default)]
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alias {
    alias: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    version: Version,
    arch: String,
    #[serde(default)]
    files_at: Option<String>,
    /// To be pointed to it at once.
    #[serde(default)]
    channel: Option<Track>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKeySet {
    /// The text of `keys.N.json`.
    set: String,
    /// The text of `keys.N.json.sig`.
    signatures: String,
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    Ok(serde_json::from_slice(if body.is_empty() { b"{}" } else { body })?)
}

fn version(text: &str) -> Result<Version, ApiError> {
    text.parse().map_err(|_| ApiError::Version(text.chars().take(80).collect()))
}

/// `2.0.0` or `2.0.0@aarch64`.
fn version_and_arch(text: &str) -> Result<(Version, String), ApiError> {
    let (text, arch) = text.split_once('@').unwrap_or((text, "amd64"));
    Ok((version(text)?, arch.to_owned()))
}

/// Everything that changes something.
pub async fn change(server: &Arc<Server>, call: &Call<'_>) -> Result<Value, ApiError> {
    if let (&Method::POST, ["apps", app, "packages"]) = (call.method, &call.words[..]) {
        return publish(server, app, read(call.body)?).await;
    }
    if let (&Method::POST, ["apps", app, "keys"]) = (call.method, &call.words[..]) {
        return take_keys(server, app, read(call.body)?).await;
    }
    let (done, urgent) = {
        let mut fleet = server.fleet.lock();
        let done = operate(&mut fleet, call);
        // Even what was refused may have changed something before it was.
        (done, server.changed(&mut fleet))
    };
    server.keep(urgent).await?;
    if let (Ok(_), &Method::DELETE, ["apps", app, "packages", package]) =
        (&done, call.method, &call.words[..])
    {
        let (version, arch) = version_and_arch(package)?;
        let place = place(server, app, &arch, version)?;
        let files = server.files.clone();
        tokio::task::spawn_blocking(move || files.remove(&place)).await.map_err(|_| ApiError::BrokeOff)??;
    }
    done
}

fn operate(fleet: &mut Fleet, call: &Call<'_>) -> Result<Value, ApiError> {
    let (now, body) = (now(), call.body);
    let track = |text: &str| -> Result<Track, ApiError> { Ok(text.parse::<Track>()?) };
    match (call.method.as_str(), &call.words[..]) {
        ("POST", ["apps"]) => fleet.put_app(read(body)?)?,
        ("PUT", ["apps", app, "channels", channel]) => {
            let (channel, point) = (track(channel)?, read::<Point>(body)?);
            fleet.ensure_channel(app, &channel, now)?;
            fleet.point(app, &channel, point.version.as_ref(), now)?;
            return Ok(with_paused(fleet, app, &channel, json!({ "ok": true })));
        }
        ("DELETE", ["apps", app, "channels", channel]) => fleet.remove_channel(app, &track(channel)?, now)?,
        ("POST", ["apps", app, "channels", channel, "promote"]) => {
            let (channel, from) = (track(channel)?, read::<Promote>(body)?.from);
            fleet.ensure_channel(app, &channel, now)?;
            let version = fleet.promote(app, &from, &channel, now)?;
            return Ok(with_paused(fleet, app, &channel, json!({ "ok": true, "version": version })));
        }
        ("PUT", ["apps", app, "channels", channel, "floors", floor]) => {
            fleet.add_floor(app, &track(channel)?, &version(floor)?, now)?;
        }
        ("DELETE", ["apps", app, "channels", channel, "floors", floor]) => {
            fleet.remove_floor(app, &track(channel)?, &version(floor)?, now)?;
        }
        ("PUT", ["apps", app, "groups", group]) => {
            fleet.put_group(app, &track(group)?, &read::<NewGroup>(body)?.channel, now)?;
        }
        ("DELETE", ["apps", app, "groups", group]) => fleet.remove_group(app, &track(group)?, now)?,
        ("PUT", ["apps", app, "groups", group, "policy"]) => {
            fleet.set_policy(app, &track(group)?, read::<Policy>(body)?, now, &zones)?;
        }
        ("POST", ["apps", app, "groups", group, "pause"]) => {
            fleet.pause(app, &track(group)?, &read::<Why>(body)?.why, now)?;
        }
        ("POST", ["apps", app, "groups", group, "resume"]) => fleet.resume(app, &track(group)?, now)?,
        ("DELETE", ["apps", app, "packages", package]) => {
            let (version, arch) = version_and_arch(package)?;
            fleet.remove_package(app, &version, &arch)?;
        }
        ("POST", ["apps", app, "packages", package, "ban"]) => {
            let (version, arch) = version_and_arch(package)?;
            fleet.ban(app, &version, &arch, Some(&read::<Why>(body)?.why), now)?;
            return Ok(with_floors(fleet, app, (&version, &arch), json!({ "ok": true })));
        }
        ("DELETE", ["apps", app, "packages", package, "ban"]) => {
            let (version, arch) = version_and_arch(package)?;
            fleet.ban(app, &version, &arch, None, now)?;
        }
        ("PUT", ["apps", app, "instances", machine]) => {
            fleet.name_machine(app, machine, read::<Alias>(body)?.alias.as_deref())?;
        }
        ("POST", ["apps", app, "instances", machine, "reset"]) => fleet.reset_machine(app, machine, now)?,
        ("DELETE", ["apps", app, "instances", machine]) => fleet.forget_machine(app, machine)?,
        _ => return Err(ApiError::NotHere),
    }
    Ok(json!({ "ok": true }))
}

fn app_key(server: &Server, app: &str) -> Result<String, ApiError> {
    let key = server.fleet.lock().app(app).map(|(key, _)| key.to_owned());
    Ok(key.ok_or_else(|| OperateError::NoApp(app.to_owned()))?)
}

fn place(server: &Server, app: &str, arch: &str, version: Version) -> Result<Place, ApiError> {
    let app = app_key(server, app)?;
    if !is_word(arch) {
        return Err(ApiError::Text { what: "arch", text: arch.to_owned() });
    }
    Ok(Place { app, arch: arch.to_owned(), version })
}

/// What was sent becomes a version that channels can have.
async fn publish(server: &Arc<Server>, app: &str, publish: Publish) -> Result<Value, ApiError> {
    if let Some(text) = publish.files_at.as_ref().filter(|url| !is_url(url)) {
        return Err(ApiError::Text { what: "files_at", text: text.clone() });
    }
    let place = place(server, app, &publish.arch, publish.version)?;
    let (shared, there) = (server.clone(), place.clone());
    let finished = tokio::task::spawn_blocking(move || {
        let of_set = shared.key_sets.release_keys(&there.app);
        shared.files.finish(&there, of_set.as_ref().unwrap_or(&shared.keys), publish.files_at, now())
    });
    let package = finished.await.map_err(|_| ApiError::BrokeOff)??;
    let version = package.version.clone();
    let answer = json!({ "ok": true, "version": version, "channel": publish.channel });
    let (done, urgent) = {
        let mut fleet = server.fleet.lock();
        let done = fleet.add_package(&place.app, package).and_then(|()| match &publish.channel {
            Some(channel) => {
                fleet.ensure_channel(&place.app, channel, now())?;
                fleet.point(&place.app, channel, Some(&version), now())?;
                Ok(with_paused(&fleet, &place.app, channel, answer))
            }
            None => Ok(answer),
        });
        (done, server.changed(&mut fleet))
    };
    server.keep(urgent).await?;
    Ok(done?)
}

/// A set of keys that machines are to follow. Also says whether the online key is one of its channel keys: where not,
/// machines that followed take no word of this server.
async fn take_keys(server: &Arc<Server>, app: &str, new: NewKeySet) -> Result<Value, ApiError> {
    let app = app_key(server, app)?;
    let shared = server.clone();
    let taken = tokio::task::spawn_blocking(move || {
        let epoch = shared.key_sets.take(&app, &new.set, &new.signatures)?;
        Ok::<_, KeySetError>((epoch, shared.key_sets.newest(&app)))
    });
    let (epoch, newest) = taken.await.map_err(|_| ApiError::BrokeOff)??;
    let own = server.signer.lock().public();
    let counts = newest.is_none_or(|set| set.channel.iter().any(|key| Some(&key.key) == own.as_ref()));
    tracing::info!(epoch, online_key_counts = counts, "a set of keys was published");
    Ok(json!({ "ok": true, "epoch": epoch, "online_key_counts": counts }))
}

/// `GET /api/apps/APP/keys`: the numbers of the sets that are here, and the newest.
pub fn key_sets(server: &Server, app: &str) -> Result<Value, ApiError> {
    let app = app_key(server, app)?;
    let files = server.key_sets.files(&app);
    let epochs: Vec<_> = files.iter().filter_map(|(name, _)| release::files::epoch_of(name)).collect();
    Ok(json!({ "epochs": epochs, "newest": server.key_sets.newest(&app) }))
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
    })
}

/// `PUT /api/apps/APP/uploads/ARCH/VERSION/NAME`: one file of a release, however large.
pub async fn upload(server: &Arc<Server>, words: &[&str], mut body: Incoming) -> Result<Value, ApiError> {
    let ["apps", app, "uploads", arch, number, name] = words else { return Err(ApiError::NotHere) };
    let name: FileName =
        name.parse().map_err(|_| ApiError::Text { what: "name", text: (*name).to_owned() })?;
    let place = place(server, app, arch, version(number)?)?;
    let (send, pieces) = mpsc::channel::<Bytes>(PIECES);
    let size = hyper::body::Body::size_hint(&body).exact();
    let (files, told) = (server.files.clone(), name.clone());
    let taking = tokio::task::spawn_blocking(move || files.take(&place, &name, pieces, size));
    let mut whole = true;
    loop {
        match timeout(PIECE_TIME, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(piece) = frame.into_data()
                    && send.send(piece).await.is_err()
                {
                    // Refused already: why comes below.
                    break;
                }
            }
            Ok(None) => break,
            Ok(Some(Err(_))) | Err(_) => {
                whole = false;
                break;
            }
        }
    }
    drop(send);
    let taken = taking.await.map_err(|_| ApiError::BrokeOff)?;
    if !whole {
        return Err(FilesError::BrokenOff.into());
    }
    taken?;
    Ok(json!({ "ok": true, "name": told.to_string() }))
}

/// `GET /api/apps/APP/uploads/ARCH/VERSION`: what of a release was sent already.
pub async fn sent(server: &Arc<Server>, words: &[&str]) -> Result<Value, ApiError> {
    let ["apps", app, "uploads", arch, number] = words else { return Err(ApiError::NotHere) };
    let place = place(server, app, arch, version(number)?)?;
    let published = server
        .fleet
        .lock()
        .app(&place.app)
        .is_some_and(|(_, app)| app.package(&place.version, arch).is_some());
    let files = server.files.clone();
    let sent =
        tokio::task::spawn_blocking(move || files.sent(&place)).await.map_err(|_| ApiError::BrokeOff)??;
    Ok(json!({ "sent": sent, "published": published }))
}

pub fn answered(value: Result<Value, ApiError>) -> Answer {
    match value {
        Ok(value) => json_answer(StatusCode::OK, &value),
        Err(error) => error.answer(),
    }
}
