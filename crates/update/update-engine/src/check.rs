//! Update checks: queries the server and installs its offer.

use omaha::{Answer, ErrorCode, Event, EventResult, EventType};
use release::files;
use update_core::status::Operation;
use update_core::trust::Wish;

use crate::attempt::{Done, Updater, memory_failed, offer};
use crate::error::{Failure, Kind};
use crate::origin::Origin;
use crate::question::{Question, Source};
use crate::settings::{Server, Settings};
use crate::watch::Watch;
use crate::web::Web;

/// Reasons for which the channel server also withdraws an earlier offer.
const WITHDRAWN: [&str; 2] = ["banned", "paused"];

/// Result of a check, and the seconds until the next one as the server requests.
#[derive(Debug, Clone)]
pub struct Checked {
    pub done: Result<Done, Failure>,
    pub poll_interval: Option<u32>,
    /// Whether the server responded.
    pub answered: bool,
}

impl Updater {
    /// Queries the server and installs its offer.
    pub fn check(&self, settings: &Settings, interactive: bool, wish: Wish, watch: &dyn Watch) -> Checked {
        let mut checked = Checked { done: Ok(Done::UpToDate(None)), poll_interval: None, answered: false };
        let url = match &settings.server {
            Server::Url(url) => url.clone(),
            Server::Disabled(why) => {
                checked.done = Ok(Done::Disabled(why.clone()));
                return checked;
            }
        };
        let web = Web::new(self.patience, settings.rate_limit);
        let talk = Talk { updater: self, settings, web: &web, url: &url, interactive };
        checked.done = talk.check(wish, watch, &mut checked.poll_interval, &mut checked.answered);
        if let Err(failure) = &checked.done
            && failure.kind != Kind::Cancelled
        {
            show(self.pending().as_ref(), watch, Operation::ReportingError);
            if checked.answered {
                talk.tell(Event::failed(talk.flagged(failure.code)));
            }
        }
        checked
    }
}

/// Publishes the operation unless a reboot is pending: locksmithd cancels a reboot when the status changes.
fn show(pending: Option<&String>, watch: &dyn Watch, operation: Operation) {
    if pending.is_none() {
        watch.operation(operation);
    }
}

/// One check with the server.
struct Talk<'a> {
    updater: &'a Updater,
    settings: &'a Settings,
    web: &'a Web,
    url: &'a str,
    interactive: bool,
}

impl Talk<'_> {
    fn check(
        &self,
        wish: Wish,
        watch: &dyn Watch,
        poll_interval: &mut Option<u32>,
        answered: &mut bool,
    ) -> Result<Done, Failure> {
        let pending = self.updater.pending();
        show(pending.as_ref(), watch, Operation::Checking);
        let memory = &self.updater.memory;
        let previous = memory.previous_version().map_err(memory_failed)?;
        let running = self.updater.identity.version.to_string();
        let event = match previous.as_deref() {
            // Installed, but not booted yet.
            Some(_) if pending.is_some() => Event::rebooted(""),
            Some(previous) if previous == running => Event::failed(self.flagged(ErrorCode::ROLLBACK)),
            Some(previous) => Event::rebooted(previous),
            None => Event::rebooted("0.0.0.0"),
        };
        let response = self.question(true, vec![event])?.ask(self.web, self.url)?;
        *answered = true;
        if pending.is_none() {
            memory.set_previous_version("").map_err(memory_failed)?;
        }
        let answer =
            response.answer().map_err(|refusal| Failure::new(Kind::Refused, refusal.code(), &refusal))?;
        let found = match answer {
            Answer::NoUpdate { reason, poll_interval: poll } => {
                *poll_interval = poll;
                if reason.is_some_and(|reason| WITHDRAWN.contains(&reason))
                    && let Some(version) = self.updater.pending_offer()
                {
                    self.updater.forget_pending()?;
                    tracing::warn!(
                        "version {version} is no longer pending: the server withdrew it ({})",
                        reason.unwrap_or_default()
                    );
                }
                return Ok(Done::UpToDate(reason.map(str::to_owned)));
            }
            Answer::Update(found) => found,
        };
        *poll_interval = found.poll_interval;
        let origin = Origin::Server { web: self.web.clone(), code_bases: found.urls.to_vec() };
        // Even if the version is not wanted: a stolen key must lose its trust as early as possible.
        self.updater.follow_keys(&origin, &|name| found.file(name).is_some())?;
        if pending.as_deref() == Some(found.version) {
            return Ok(Done::UpToDate(None));
        }
        if let Some(hold) = memory.hold().map_err(memory_failed)?.filter(|_| !self.interactive) {
            // Another machine gets the slot in the rollout.
            self.tell(Event::new(EventType::UPDATE_COMPLETE, EventResult::DEFERRED));
            return Ok(Done::Held { version: found.version.to_owned(), reason: hold.reason });
        }
        for name in [files::RELEASE, files::RELEASE_SIGNATURE, files::TIMESTAMP, files::TIMESTAMP_SIGNATURE] {
            if found.file(name).is_none() {
                let message = format!("the server offers version {} without {name}", found.version);
                return Err(Failure::text(Kind::Refused, ErrorCode::PAYLOAD_PUBLIC_KEY, message));
            }
        }
        let accepted = self.updater.judge(&offer(&origin, true)?, self.settings, wish)?;
        show(pending.as_ref(), watch, Operation::Available);
        self.updater.install(&accepted, &origin, watch, &|event| self.tell(event))
    }

    fn question(&self, check: bool, events: Vec<Event>) -> Result<Question<'_>, Failure> {
        Ok(Question {
            identity: &self.updater.identity,
            settings: self.settings,
            aleph_version: self
                .updater
                .memory
                .aleph_version(&self.updater.identity.version)
                .map_err(memory_failed)?,
            source: if self.interactive { Source::OnDemand } else { Source::Scheduler },
            ping: check,
            check,
            events,
        })
    }

    /// Best effort: an update does not depend on it.
    fn tell(&self, event: Event) {
        let told = self.question(false, vec![event]).and_then(|question| question.ask(self.web, self.url));
        if let Err(failure) = told {
            tracing::info!(error = %failure, "the server was not told how it goes");
        }
    }

    /// Adds the flags of this machine.
    fn flagged(&self, code: ErrorCode) -> ErrorCode {
        ErrorCode(code.0 | if self.settings.own_server { 1 << 28 } else { 0 })
    }
}
