//! `/v1/update`: the Omaha endpoint.

use std::net::IpAddr;

use hyper::StatusCode;
use omaha::{
    Action, App, AppStatus, Manifest, Package, Request, Response, ResponseApp, Sha256, UpdateCheck,
    UpdateStatus,
};
use release::files;
use rollout::{AppOutcome, AppRequest, CheckResult, Track, UpdateState};

use crate::body::{HttpResponse, response};
use crate::server::{Server, now, zones};

const NAME: &str = "keelson";
/// Keelson's reason: machines could not verify the channel's versions.
const NOT_LISTED: &str = "not-listed";
const DAY: u64 = 24 * 3600;

/// Who sends a request.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    pub from: IpAddr,
    /// It proved the registration token.
    pub is_registered: bool,
}

/// `base` is the URL of this server from the machine's view: `http://host:port`.
pub async fn update(server: &Server, body: &[u8], client: Client, base: &str) -> HttpResponse {
    let Client { from, is_registered } = client;
    let request = match Request::read(body) {
        Ok(request) => request,
        Err(error) => {
            server.metrics.malformed.inc();
            tracing::debug!(%error, %from, "invalid Omaha request");
            return crate::body::error_response(
                StatusCode::BAD_REQUEST,
                format!("invalid Omaha request: {error}"),
            );
        }
    };
    let now = now();
    let mut outcomes = Vec::new();
    let pending = {
        let mut state = server.state.lock();
        for app in &request.apps {
            let is_on_demand = request.install_source == omaha::ON_DEMAND;
            let os_arch = request.os.arch.as_deref();
            let unlisted = app.update_check && has_problem(server, &state, app, os_arch);
            // Otherwise the machine would be granted a version that it cannot verify.
            let without_check = unlisted.then(|| App { update_check: false, ..app.clone() });
            let reported = without_check.as_ref().unwrap_or(app);
            let app_request = AppRequest { app: reported, os_arch, ip: from, is_on_demand, is_registered };
            let outcome = state.handle(app_request, now, &zones);
            let package = match &outcome {
                AppOutcome::Known(Some(CheckResult::Update { version, arch, .. })) => state
                    .app(&app.app_id)
                    .and_then(|(key, found)| Some((key.to_owned(), found.package(version, arch)?.clone()))),
                _ => None,
            };
            outcomes.push((outcome, package, unlisted));
        }
        server.stage_changes(&mut state)
    };
    // A grant must be on disk before the machine learns of it.
    if let Err(error) = server.commit(pending).await {
        tracing::error!(%error, "cannot respond to a machine");
        return crate::body::error_response(
            StatusCode::SERVICE_UNAVAILABLE,
            "the server cannot write to its database",
        );
    }
    let mut apps = Vec::new();
    for (app, (outcome, package, unlisted)) in request.apps.iter().zip(outcomes) {
        for event in &app.events {
            server.metrics.events.with_label_values(&[event_label(event)]).inc();
        }
        let (status, check, label) = match outcome {
            AppOutcome::Known(None) if unlisted => {
                let check = UpdateCheck::without_update(UpdateStatus::NoUpdate, Some(NOT_LISTED.to_owned()));
                (AppStatus::Ok, check, NOT_LISTED)
            }
            outcome => app_response(outcome, package, base),
        };
        if app.update_check {
            server.metrics.checks.with_label_values(&[label]).inc();
        }
        apps.push(ResponseApp::echo(app, status, check));
    }
    let day_start = u32::try_from(now % DAY).unwrap_or_default();
    let omaha_response = Response { server: NAME.to_owned(), day_start, apps };
    response(StatusCode::OK, omaha::CONTENT_TYPE, omaha_response.write())
}

/// Whether the machine could verify nothing that its channel has. The reason is logged when it changes.
fn has_problem(server: &Server, state: &UpdateState, reported: &App, os_arch: Option<&str>) -> bool {
    let arch = omaha::architecture(&reported.board, os_arch);
    let (Some((key, app)), Ok(track)) = (state.app(&reported.app_id), Track::new(&reported.track, arch))
    else {
        return false;
    };
    let problem = server.repositories.group_problem(key, app, &track);
    server.repositories.log_problem(key, &track, problem.as_deref());
    problem.is_some()
}

/// A bounded set of label values, whatever machines send.
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

/// Returns the label for the metrics, too.
fn app_response(
    outcome: AppOutcome,
    package: Option<(String, rollout::Package)>,
    base: &str,
) -> (AppStatus, UpdateCheck, &'static str) {
    let error_status =
        |status| (status, UpdateCheck::without_update(UpdateStatus::Internal, None), "refused");
    match outcome {
        AppOutcome::NoAppId => error_status(AppStatus::InvalidAppId),
        AppOutcome::UnknownApp => error_status(AppStatus::UnknownApplication),
        AppOutcome::UnknownGroup => error_status(AppStatus::UnknownApplicationOrGroup),
        AppOutcome::InvalidVersion => error_status(AppStatus::InvalidVersion),
        AppOutcome::NotRegistered => error_status(AppStatus::InstanceRegistrationFailed),
        AppOutcome::Known(None) => {
            (AppStatus::Ok, UpdateCheck::without_update(UpdateStatus::NoUpdate, None), "none")
        }
        AppOutcome::Known(Some(CheckResult::NoUpdate(reason))) => {
            let check = UpdateCheck::without_update(UpdateStatus::NoUpdate, Some(reason.as_str().to_owned()));
            (AppStatus::Ok, check, reason.as_str())
        }
        AppOutcome::Known(Some(CheckResult::Update { group, .. })) => {
            let Some((app, package)) = package else { return error_status(AppStatus::Internal) };
            match offer(&app, &package, &group, base) {
                Some(check) => (AppStatus::Ok, check, "update"),
                None => error_status(AppStatus::Internal),
            }
        }
    }
}

fn offer(app: &str, package: &rollout::Package, group: &Track, base: &str) -> Option<UpdateCheck> {
    let sha256: Sha256 = package.payload.sha256.parse().ok()?;
    let payload = Package {
        name: package.payload.name.clone(),
        sha1: package.payload.sha1.clone(),
        sha256: Some(sha256),
        size: package.payload.size,
        required: true,
    };
    let mut packages = vec![payload];
    packages.extend(package.further.iter().filter(|file| file.name == files::RELEASE).map(|file| Package {
        name: file.name.clone(),
        sha256: file.sha256.parse().ok(),
        size: file.size,
        ..Package::default()
    }));
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
