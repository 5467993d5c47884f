//! `/files/APP/GROUP/VERSION/NAME`: what an offer is made of, and the sets of keys, whole or from where it broke off; and
//! `/files/APP/GROUP/timestamp.json`: what the channel has now, for who makes new machines.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_RANGE,
    LOCATION, RANGE, RETRY_AFTER,
};
use hyper::{HeaderMap, Method, Response, StatusCode};
use release::{Digest, FileName, files};
use rollout::Track;
use semver::Version;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;

use crate::body::{Answer, Body, text};
use crate::current::current;
use crate::limits::{PIECE, PIECE_TIME, PIECES};
use crate::place::Place;
use crate::range::{Part, part};
use crate::server::{Server, now};
use crate::update::timestamp;

const OCTETS: &str = "application/octet-stream";

/// `words` are the parts of the path behind `/files/`.
pub async fn download(
    server: &Arc<Server>,
    words: &[String],
    method: &Method,
    headers: &HeaderMap,
) -> Answer {
    let not_here = || text(StatusCode::NOT_FOUND, "there is no such file\n");
    if let [app, group, name] = words {
        return channels_word(server, app, group, name).await;
    }
    let [app, group, version, name] = words else { return not_here() };
    let (Ok(track), Ok(version), Ok(name)) =
        (group.parse::<Track>(), version.parse::<Version>(), name.parse::<FileName>())
    else {
        return not_here();
    };
    let found = {
        let fleet = server.fleet.lock();
        fleet.app(app).and_then(|(key, found)| {
            let package = found.package(&version, track.arch())?.clone();
            let channel = found.channels.get(&found.groups.get(&track)?.group.channel)?;
            let offered = channel.package.as_ref() == Some(&version) || channel.floors.contains(&version);
            Some((key.to_owned(), package, offered))
        })
    };
    let Some((app, package, offered)) = found else { return not_here() };
    let is_timestamp = [files::TIMESTAMP, files::TIMESTAMP_SIGNATURE].contains(&name.as_str());
    if is_timestamp {
        // A channel does not speak of what it does not have.
        return match package.release_sha256.filter(|_| offered) {
            Some(release) => said(server, &track, &version, &release, name.as_str()).await,
            None => not_here(),
        };
    }
    if let Some(bytes) = server.key_sets.file(&app, name.as_str()) {
        return crate::body::answer(StatusCode::OK, OCTETS, bytes);
    }
    let is_metadata = [files::RELEASE, files::RELEASE_SIGNATURE].contains(&name.as_str());
    let mut all = std::iter::once(&package.payload).chain(&package.further);
    let known = all.find(|file| file.name == name.as_str());
    if !is_metadata && known.is_none() {
        return not_here();
    }
    if let Some(elsewhere) = package.files_at.as_ref().filter(|_| !is_metadata) {
        return elsewhere_at(&omaha::file_url(elsewhere, name.as_str()));
    }
    let tag = known.map(|file| format!("\"{}\"", file.sha256));
    let place = Place { app, arch: track.arch().to_owned(), version };
    serve(server, &place, &name, tag, method, headers).await
}

/// The signed word about a channel, by whichever version it has.
async fn channels_word(server: &Server, app: &str, group: &str, name: &str) -> Answer {
    let not_here = |why: &dyn std::fmt::Display| text(StatusCode::NOT_FOUND, format!("{why}\n"));
    let Ok(track) = group.parse::<Track>() else { return not_here(&"there is no such channel") };
    if ![files::TIMESTAMP, files::TIMESTAMP_SIGNATURE].contains(&name) {
        return not_here(&"there is no such file");
    }
    let found = current(&server.fleet.lock(), app, &track)
        .map(|(_, package)| (package.version.clone(), package.release_sha256.clone()));
    match found {
        Ok((version, Some(release))) => said(server, &track, &version, &release, name).await,
        Ok((version, None)) => not_here(&format_args!("version {version} has no signed metadata")),
        Err(nothing) => not_here(&nothing),
    }
}

async fn said(server: &Server, track: &Track, version: &Version, release: &str, name: &str) -> Answer {
    let signed = match release.parse::<Digest>() {
        Ok(release) => timestamp(server, track, version, release, now()).await,
        Err(_) => None,
    };
    let Some(signed) = signed else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the timestamp cannot be signed at the moment\n");
    };
    let is_signature = name == files::TIMESTAMP_SIGNATURE;
    let bytes = if is_signature { signed.signature.into_bytes() } else { signed.bytes };
    crate::body::answer(StatusCode::OK, OCTETS, bytes)
}

fn elsewhere_at(url: &str) -> Answer {
    let mut answer = text(StatusCode::FOUND, "it lies elsewhere\n");
    match HeaderValue::from_str(url) {
        Ok(url) => drop(answer.headers_mut().insert(LOCATION, url)),
        Err(_) => return text(StatusCode::INTERNAL_SERVER_ERROR, "where it lies cannot be told\n"),
    }
    answer
}

async fn serve(
    server: &Arc<Server>,
    place: &Place,
    name: &FileName,
    tag: Option<String>,
    method: &Method,
    headers: &HeaderMap,
) -> Answer {
    let path = server.files.path(place, name);
    let looked = path.clone();
    let size = tokio::task::spawn_blocking(move || std::fs::metadata(looked).map(|found| found.len())).await;
    let Ok(Ok(size)) = size else { return text(StatusCode::NOT_FOUND, "there is no such file\n") };
    let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // Only where the rest belongs to what was begun.
    let is_same = header(IF_RANGE).is_none_or(|of| Some(of) == tag.as_deref());
    let (status, from, to) = match part(header(RANGE).filter(|_| is_same), size) {
        Part::All => (StatusCode::OK, 0, size),
        Part::Bytes(from, to) => (StatusCode::PARTIAL_CONTENT, from, to),
        Part::Outside => {
            let mut answer =
                text(StatusCode::RANGE_NOT_SATISFIABLE, "nothing of that range is in the file\n");
            put(&mut answer, CONTENT_RANGE, &format!("bytes */{size}"));
            return answer;
        }
    };
    let mut answer = Response::new(Body::Whole(None));
    *answer.status_mut() = status;
    if method != Method::HEAD {
        let Ok(place) = server.readers.clone().try_acquire_owned() else {
            let mut busy = text(StatusCode::SERVICE_UNAVAILABLE, "too many files are being read\n");
            put(&mut busy, RETRY_AFTER, "10");
            return busy;
        };
        let (sender, pieces) = mpsc::channel(PIECES);
        let metrics = server.metrics.clone();
        tokio::task::spawn_blocking(move || {
            metrics.sent_bytes.inc_by(send(&path, from, to, &sender, PIECE_TIME));
            drop(place);
        });
        *answer.body_mut() = Body::Stream { pieces, left: Some(to - from) };
    }
    if status == StatusCode::PARTIAL_CONTENT {
        put(&mut answer, CONTENT_RANGE, &format!("bytes {from}-{}/{size}", to - 1));
    }
    put(&mut answer, CONTENT_LENGTH, &(to - from).to_string());
    put(&mut answer, CONTENT_TYPE, OCTETS);
    put(&mut answer, ACCEPT_RANGES, "bytes");
    // What a version consists of never changes.
    put(&mut answer, CACHE_CONTROL, "public, max-age=86400, no-transform");
    if let Some(tag) = tag {
        put(&mut answer, ETAG, &tag);
    }
    answer
}

fn put(answer: &mut Answer, name: hyper::header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// Sends the part of a file, until the end, until nobody wants it any more, or until who does takes none of it for
/// `patience`. Blocks; needs a tokio runtime.
fn send(
    path: &Path,
    from: u64,
    to: u64,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
    patience: Duration,
) -> u64 {
    let mut sent = 0;
    let runtime = Handle::current();
    let mut read = || -> io::Result<()> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut left = to - from;
        while left > 0 {
            let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
            file.read_exact(&mut piece)?;
            left -= piece.len() as u64;
            sent += piece.len() as u64;
            let taken = pieces.send_timeout(Ok(piece.into()), patience);
            match runtime.block_on(taken) {
                Ok(()) => {}
                Err(SendTimeoutError::Closed(_)) => break,
                // Its place is somebody else's. The connection ends with too few bytes.
                Err(SendTimeoutError::Timeout(_)) => {
                    tracing::debug!(path = %path.display(), "a client took nothing for {patience:?}");
                    break;
                }
            }
        }
        Ok(())
    };
    if let Err(error) = read() {
        tracing::warn!(%error, path = %path.display(), "a file of a release could not be read");
        // The connection breaks, so that nobody takes what came for all.
        if runtime.block_on(pieces.send_timeout(Err(error), patience)).is_err() {
            tracing::debug!("nobody waited for the rest");
        }
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 256 stalled clients would block all downloads.
    #[tokio::test]
    async fn a_client_that_takes_nothing_gives_its_place_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("usr.full");
        std::fs::write(&path, vec![7; PIECE * 3]).unwrap();
        let (sender, mut pieces) = mpsc::channel(1);
        let end = PIECE as u64 * 3;
        let sending =
            tokio::task::spawn_blocking(move || send(&path, 0, end, &sender, Duration::from_millis(20)));
        // It takes one piece, the next one waits in the channel, and the third one finds no room.
        assert_eq!(pieces.recv().await.unwrap().unwrap().len(), PIECE);
        sending.await.unwrap();
        let mut left = Vec::new();
        while let Some(piece) = pieces.recv().await {
            left.push(piece.unwrap().len());
        }
        assert_eq!(left, [PIECE]);
    }
}
