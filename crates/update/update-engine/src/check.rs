//! Update checks: queries the server and installs its offer.

use omaha::{CheckResponse, ErrorCode, Event, EventResult, EventType};
use release::Version;
use update_core::status::Operation;
use update_core::trust::{UpdateOptions, VerifiedRelease};

use crate::attempt::{Outcome, Updater, now, state_failed};
use crate::channel::Confirmed;
use crate::error::{Failure, Kind};
use crate::found::{Found, fetch_release, listed_by_version};
use crate::http::HttpClient;
use crate::observer::Observer;
use crate::omaha_request::{InstallSource, OmahaRequest};
use crate::origin::Origin;
use crate::settings::{Server, Settings};

/// Reasons for which the channel server also withdraws an earlier offer.
const WITHDRAWN: [&str; 2] = ["banned", "paused"];

/// Result of a check, and the seconds until the next one as the server requests.
#[derive(Debug, Clone)]
pub struct CheckOutcome {
    pub outcome: Result<Outcome, Failure>,
    pub poll_interval: Option<u32>,
    /// Whether the server responded.
    pub responded: bool,
    /// Whether the metadata was verified. `None` without a response.
    pub confirmed: Option<Result<(), Failure>>,
}

impl Updater {
    /// Queries the server and installs its offer.
    pub fn check(
        &self,
        settings: &Settings,
        interactive: bool,
        options: UpdateOptions,
        observer: &dyn Observer,
    ) -> CheckOutcome {
        let mut checked = CheckOutcome {
            outcome: Ok(Outcome::UpToDate(None)),
            poll_interval: None,
            responded: false,
            confirmed: None,
        };
        let url = match &settings.server {
            Server::Url(url) => url.clone(),
            Server::Disabled(why) => {
                checked.outcome = Ok(Outcome::Disabled(why.clone()));
                return checked;
            }
        };
        let http = HttpClient::new(self.retry, settings.rate_limit, &self.isolation);
        let session = Session { updater: self, settings, http: &http, url: &url, interactive };
        checked.outcome = session.check(options, observer, &mut checked);
        if let Err(failure) = &checked.outcome
            && failure.kind != Kind::Cancelled
        {
            set_operation(self.pending().as_ref(), observer, Operation::ReportingError);
            if checked.responded {
                session.report(Event::failed(session.with_flags(failure.code)));
            }
        }
        checked
    }
}

/// Publishes the operation unless a reboot is pending: locksmithd cancels a reboot when the status changes.
fn set_operation(pending: Option<&String>, observer: &dyn Observer, operation: Operation) {
    if pending.is_none() {
        observer.operation(operation);
    }
}

/// One check with the server.
struct Session<'a> {
    updater: &'a Updater,
    settings: &'a Settings,
    http: &'a HttpClient,
    url: &'a str,
    interactive: bool,
}

impl Session<'_> {
    fn check(
        &self,
        options: UpdateOptions,
        observer: &dyn Observer,
        checked: &mut CheckOutcome,
    ) -> Result<Outcome, Failure> {
        let pending = self.updater.pending();
        set_operation(pending.as_ref(), observer, Operation::Checking);
        let memory = &self.updater.state;
        let channel = &self.settings.group;
        memory.update_freshness(|freshness| freshness.follow(channel, now())).map_err(state_failed)?;
        let previous = memory.previous_version().map_err(state_failed)?;
        let running = self.updater.identity.version.to_string();
        let event = match previous.as_deref() {
            // Installed, but not booted yet.
            Some(_) if pending.is_some() => Event::rebooted(""),
            Some(previous) if previous == running => Event::failed(self.with_flags(ErrorCode::ROLLBACK)),
            Some(previous) => Event::rebooted(previous),
            None => Event::rebooted("0.0.0.0"),
        };
        let response = self.omaha_request(true, vec![event])?.send(self.http, self.url)?;
        checked.responded = true;
        // Whatever the answer, which is not signed. A failure is not one of the update.
        let confirmed = self.updater.confirm_channel(self.http, self.url, self.settings);
        checked.confirmed = Some(confirmed.as_ref().map(|_| ()).map_err(Failure::clone));
        if pending.is_none() {
            memory.set_previous_version("").map_err(state_failed)?;
        }
        let answer = response
            .check_response()
            .map_err(|refusal| Failure::new(Kind::Rejected, refusal.code(), &refusal))?;
        let offer = match answer {
            CheckResponse::NoUpdate { reason, poll_interval: poll } => {
                checked.poll_interval = poll;
                // Unsigned, but it only keeps the running version.
                if reason.is_some_and(|reason| WITHDRAWN.contains(&reason))
                    && let Some(version) = self.updater.pending_offer()
                {
                    self.updater.discard_pending()?;
                    tracing::warn!(
                        "version {version} is no longer pending: the server withdrew it ({})",
                        reason.unwrap_or_default()
                    );
                }
                return Ok(Outcome::UpToDate(reason.map(str::to_owned)));
            }
            CheckResponse::Update(offer) => offer,
        };
        checked.poll_interval = offer.poll_interval;
        let origin = Origin::Server { http: self.http.clone(), code_bases: offer.urls.to_vec() };
        if pending.as_deref() == Some(offer.version) {
            return Ok(Outcome::UpToDate(None));
        }
        if let Some(hold) = memory.hold().map_err(state_failed)?.filter(|_| !self.interactive) {
            // Another machine gets the slot in the rollout.
            self.report(Event::new(EventType::UPDATE_COMPLETE, EventResult::DEFERRED));
            return Ok(Outcome::Held { version: offer.version.to_owned(), reason: hold.reason });
        }
        let version: Version = offer.version.parse().map_err(|error| {
            let message = format!("the offer's version `{}` is invalid: {error}", offer.version);
            Failure::text(Kind::Rejected, ErrorCode::RESPONSE_INVALID, message)
        })?;
        let accepted = self.verify(&confirmed?, &version, &origin, options)?;
        set_operation(pending.as_ref(), observer, Operation::Available);
        let still_offered = || self.still_offered(&accepted, &origin, options);
        self.updater.install(&accepted, &origin, observer, &|event| self.report(event), &still_offered)
    }

    /// Fetches and verifies an offered release.
    fn verify(
        &self,
        confirmed: &Confirmed,
        version: &Version,
        origin: &Origin,
        options: UpdateOptions,
    ) -> Result<VerifiedRelease, Failure> {
        let Confirmed { targets, channel, root } = confirmed;
        let Some(channel) = channel else {
            let message = format!("channel {} has no version, and {version} is offered", self.settings.group);
            return Err(Failure::text(Kind::Rejected, ErrorCode::DEFERRED_PER_POLICY, message));
        };
        let listed = listed_by_version(targets, &self.updater.identity.board, version)?;
        let bytes = fetch_release(origin)?;
        let found = Found { bytes: &bytes, listed, channel: Some(channel), root: *root };
        self.updater.verify_release(found, self.settings, options)
    }

    /// Verifies after the transfer, which may have taken days, that the channel still has the version.
    fn still_offered(
        &self,
        accepted: &VerifiedRelease,
        origin: &Origin,
        options: UpdateOptions,
    ) -> Result<(), Failure> {
        let confirmed = self.updater.confirm_channel(self.http, self.url, self.settings);
        let again = confirmed
            .and_then(|confirmed| self.verify(&confirmed, &accepted.release.version, origin, options));
        let message = match again {
            Ok(again) if again.release == accepted.release => return Ok(()),
            Ok(_) => "the release changed".to_owned(),
            Err(failure) => format!("after the transfer: {}", failure.message),
        };
        // No failure of the version: the next check gets another offer, or none.
        Err(Failure::text(Kind::Transient, ErrorCode::DOWNLOAD_TRANSFER, message))
    }

    fn omaha_request(&self, check: bool, events: Vec<Event>) -> Result<OmahaRequest<'_>, Failure> {
        Ok(OmahaRequest {
            identity: &self.updater.identity,
            settings: self.settings,
            aleph_version: self
                .updater
                .state
                .aleph_version(&self.updater.identity.version)
                .map_err(state_failed)?,
            source: if self.interactive { InstallSource::OnDemand } else { InstallSource::Scheduler },
            ping: check,
            update_check: check,
            events,
        })
    }

    /// Best effort: an update does not depend on it.
    fn report(&self, event: Event) {
        let sent = self
            .omaha_request(false, vec![event])
            .and_then(|omaha_request| omaha_request.send(self.http, self.url));
        if let Err(failure) = sent {
            tracing::info!(error = %failure, "cannot report the progress to the server");
        }
    }

    /// Adds the flags of this machine.
    fn with_flags(&self, code: ErrorCode) -> ErrorCode {
        ErrorCode(code.0 | if self.settings.custom_server { 1 << 28 } else { 0 })
    }
}
