//! Parts of API requests: bodies, versions, and what they identify.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_server::file::CHUNKS_AHEAD;
use hyper::body::Incoming;
use rollout::is_identifier;
use semver::Version;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::api_error::{ApiError, app_key};
use crate::files_error::FilesError;
use crate::limits::CHUNK_TIMEOUT;
use crate::release_id::ReleaseId;
use crate::server::Server;

pub fn parse_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    Ok(serde_json::from_slice(if body.is_empty() { b"{}" } else { body })?)
}

pub fn version(text: &str) -> Result<Version, ApiError> {
    text.parse().map_err(|_| ApiError::InvalidVersion(text.chars().take(80).collect()))
}

/// `2.0.0` or `2.0.0@aarch64`.
pub fn version_and_arch(text: &str) -> Result<(Version, String), ApiError> {
    let (text, arch) = text.split_once('@').unwrap_or((text, "amd64"));
    Ok((version(text)?, arch.to_owned()))
}

pub fn release_id(server: &Server, app: &str, arch: &str, version: Version) -> Result<ReleaseId, ApiError> {
    let app = app_key(server, app)?;
    if !is_identifier(arch) {
        return Err(ApiError::InvalidText { what: "arch", text: arch.to_owned() });
    }
    Ok(ReleaseId { app, arch: arch.to_owned(), version })
}

pub fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
    })
}

/// Passes a body of any size to `receive`, with its size if known.
pub async fn receive_body(
    mut body: Incoming,
    receive: impl FnOnce(mpsc::Receiver<Bytes>, Option<u64>) -> Result<(), FilesError> + Send + 'static,
) -> Result<(), ApiError> {
    let (send, chunks) = mpsc::channel::<Bytes>(CHUNKS_AHEAD);
    let size = hyper::body::Body::size_hint(&body).exact();
    let receiving = tokio::task::spawn_blocking(move || receive(chunks, size));
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
    Ok(received?)
}
