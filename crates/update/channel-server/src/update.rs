//! `/v1/update`: what a machine says in Omaha, and what it is answered.

use std::net::IpAddr;

use hyper::StatusCode;
use omaha::{
    Action, AnsweredApp, AppStatus, Manifest, Package, Request, Response, Sha256, UpdateCheck, UpdateStatus,
    file,
};
use release::Digest;
use rollout::{Answer as Decision, Contact, Track, Verdict};
use semver::Version;

use crate::body::{Answer, answer};
use crate::server::{Server, now, zones};
use crate::signing::Signed;

const NAME: &str = "keelson";
const DAY: u64 = 24 * 3600;

/// `base` is what the machine calls this server: `http://host:port`.
pub async fn update(server: &Server, body: &[u8], from: IpAddr, base: &str) -> Answer {
    let request = match Request::read(body) {
        Ok(request) => request,
        Err(error) => {
            server.metrics.malformed.inc();
            tracing::debug!(%error, %from, "a request is no Omaha");
            return crate::body::failed(
                StatusCode::BAD_REQUEST,
                format!("this is no Omaha request: {error}"),
            );
        }
    };
    let (ip, now) = (from.to_string(), now());
    let mut decisions = Vec::new();
    let urgent = {
        let mut fleet = server.fleet.lock();
        for app in &request.apps {
            let is_on_demand = request.install_source == omaha::ON_DEMAND;
            let contact = Contact { app, os_arch: request.os.arch.as_deref(), ip: &ip, is_on_demand };
            let decision = fleet.contact(contact, now, &zones);
            let package = match &decision {
                Decision::Known(Some(Verdict::Update { version, arch, .. })) => fleet
                    .app(&app.app_id)
                    .and_then(|(key, found)| Some((key.to_owned(), found.package(version, arch)?.clone()))),
                _ => None,
            };
            decisions.push((decision, package));
        }
        server.changed(&mut fleet)
    };
    // Nobody is told of a grant that a crash could take back.
    if let Err(error) = server.keep(urgent).await {
        tracing::error!(%error, "a machine was not answered");
        return crate::body::failed(StatusCode::SERVICE_UNAVAILABLE, "the server cannot write at the moment");
    }
    let mut apps = Vec::new();
    for (asked, (decision, package)) in request.apps.iter().zip(decisions) {
        for event in &asked.events {
            server.metrics.events.with_label_values(&[event_label(event)]).inc();
        }
        let (status, check, word) = answered(server, decision, package, base, now).await;
        if asked.update_check {
            server.metrics.checks.with_label_values(&[word]).inc();
        }
        apps.push(AnsweredApp::echo(asked, status, check));
    }
    let day_start = u32::try_from(now % DAY).unwrap_or_default();
    let response = Response { server: NAME.to_owned(), day_start, apps };
    answer(StatusCode::OK, omaha::CONTENT_TYPE, response.write())
}

/// Few values, whatever machines send.
fn event_label(event: &omaha::Event) -> &'static str {
    match (event.kind.0, event.result.0) {
        (_, 0) => "failed",
        (13, 1) => "download-started",
        (14, 1) => "download-finished",
        (3, 1) => "installed",
        (3, 2) if event.completed_from().is_some() => "complete",
        (3, 2) => "none",
        (3, 9) => "deferred",
        _ => "other",
    }
}

/// With a word for the metrics.
async fn answered(
    server: &Server,
    decision: Decision,
    package: Option<(String, rollout::Package)>,
    base: &str,
    now: u64,
) -> (AppStatus, UpdateCheck, &'static str) {
    let refused = |status| (status, UpdateCheck::without_update(UpdateStatus::Internal, None), "refused");
    match decision {
        Decision::NoAppId => refused(AppStatus::InvalidAppId),
        Decision::UnknownApp => refused(AppStatus::UnknownApplication),
        Decision::UnknownGroup => refused(AppStatus::UnknownApplicationOrGroup),
        Decision::InvalidVersion => refused(AppStatus::InvalidVersion),
        Decision::NotRegistered => refused(AppStatus::InstanceRegistrationFailed),
        Decision::Known(None) => {
            (AppStatus::Ok, UpdateCheck::without_update(UpdateStatus::NoUpdate, None), "none")
        }
        Decision::Known(Some(Verdict::Nothing(reason))) => {
            let check = UpdateCheck::without_update(UpdateStatus::NoUpdate, Some(reason.word().to_owned()));
            (AppStatus::Ok, check, reason.word())
        }
        Decision::Known(Some(Verdict::Update { group, .. })) => {
            let Some((app, package)) = package else { return refused(AppStatus::Internal) };
            match offer(server, &app, &package, &group, base, now).await {
                Some(check) => (AppStatus::Ok, check, "update"),
                None => refused(AppStatus::Internal),
            }
        }
    }
}

async fn offer(
    server: &Server,
    app: &str,
    package: &rollout::Package,
    group: &Track,
    base: &str,
    now: u64,
) -> Option<UpdateCheck> {
    let sha256: Sha256 = package.payload.sha256.parse().ok()?;
    let payload = Package {
        name: package.payload.name.clone(),
        sha1: package.payload.sha1.clone(),
        sha256: Some(sha256),
        size: package.payload.size,
        required: true,
    };
    let mut packages = vec![payload];
    if let Some(release) = &package.release_sha256 {
        let release: Digest = release.parse().ok()?;
        let metadata = |name: &str, sha256: Option<Sha256>, size: u64| Package {
            name: name.to_owned(),
            sha256,
            size,
            ..Package::default()
        };
        let signed = timestamp(server, group, &package.version, release, now).await?;
        for file in &package.further {
            if [file::RELEASE, file::RELEASE_SIGNATURE].contains(&file.name.as_str()) {
                packages.push(metadata(&file.name, file.sha256.parse().ok(), file.size));
            }
        }
        for (name, bytes) in
            [(file::TIMESTAMP, &signed.bytes[..]), (file::TIMESTAMP_SIGNATURE, signed.signature.as_bytes())]
        {
            let size = u64::try_from(bytes.len()).unwrap_or_default();
            // It may be signed anew before it is fetched: its signature vouches for it.
            packages.push(metadata(name, None, size));
        }
        for (name, size) in server.key_sets.files(app) {
            packages.push(metadata(&name, None, u64::try_from(size).unwrap_or_default()));
        }
    }
    let manifest = Manifest {
        version: package.version.to_string(),
        packages,
        actions: vec![Action::postinstall(sha256)],
    };
    Some(UpdateCheck {
        urls: vec![format!("{base}/files/{app}/{group}/{}/", package.version)],
        manifest: Some(manifest),
        ..UpdateCheck::without_update(UpdateStatus::Ok, None)
    })
}

/// The word about a version that the channel of `group` has. Machines know the channel that they follow by the name of
/// their group.
pub async fn timestamp(
    server: &Server,
    group: &Track,
    version: &Version,
    release: Digest,
    now: u64,
) -> Option<Signed> {
    let (signed, before, after) = {
        let mut signer = server.signer.lock();
        let before = signer.issued();
        (signer.timestamp(group.name(), version, release, now), before, signer.issued())
    };
    if after != before
        && let Err(error) = server.keep_issued(after).await
    {
        tracing::error!(%error, "when the last timestamp was issued is not on disk");
        return None;
    }
    match signed {
        Ok(signed) => Some(signed),
        Err(error) => {
            tracing::error!(%error, "a timestamp could not be signed");
            None
        }
    }
}
