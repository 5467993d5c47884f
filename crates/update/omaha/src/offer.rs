//! What a machine takes from an answer: the first of everything, as update_engine looks for it.

use crate::code::ErrorCode;
use crate::digest::Sha256;
use crate::response::{Action, Package, Response, UpdateStatus};

/// Where the answer says nothing of it.
const MAX_FAILURES_PER_URL: u32 = 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// With the reason, if the server is one of ours.
    NoUpdate {
        reason: Option<&'a str>,
        poll_interval: Option<u32>,
    },
    Update(Offer<'a>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer<'a> {
    /// To be shown only: what is installed says itself which version it is.
    pub version: &'a str,
    /// Code bases, to be tried in this order; at least one.
    pub urls: &'a [String],
    pub payload: &'a Package,
    /// Of the payload.
    pub sha256: Sha256,
    pub further: &'a [Package],
    pub max_failures_per_url: u32,
    pub is_delta_payload: bool,
    pub disable_payload_backoff: bool,
    /// Seconds.
    pub poll_interval: Option<u32>,
}

impl<'a> Offer<'a> {
    /// One of the further packages.
    pub fn file(&self, name: &str) -> Option<&'a Package> {
        self.further.iter().find(|package| package.name == name)
    }
}

/// Why an answer that could be read is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the server says {check:?} (of the application: {app:?})")]
    Status { check: String, app: String },
    #[error("the answer says nothing of an update")]
    NoCheck,
    #[error("the offer has no URL")]
    NoUrl,
    #[error("the offer has no package")]
    NoPackage,
    #[error("the offered package {name:?} has no size")]
    NoSize { name: String },
    #[error("the offer has no postinstall action")]
    NoAction,
    #[error("the offer's postinstall action has no sha256")]
    NoSha256,
}

impl Refusal {
    /// What is reported.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::RESPONSE_INVALID
    }
}

impl Response {
    /// # Errors
    /// The server refused, or offers something that cannot be taken: see [`Refusal`].
    pub fn answer(&self) -> Result<Answer<'_>, Refusal> {
        let mut checks = self.apps.iter().filter_map(|app| Some((app, app.update_check.as_ref()?)));
        let (app, check) = checks.next().ok_or(Refusal::NoCheck)?;
        let poll_interval = check.poll_interval;
        match check.status {
            UpdateStatus::NoUpdate => {
                return Ok(Answer::NoUpdate { reason: check.reason.as_deref(), poll_interval });
            }
            UpdateStatus::Ok => {}
            ref other => {
                let (check, app) = (other.word().to_owned(), app.status.word().to_owned());
                return Err(Refusal::Status { check, app });
            }
        }
        if check.urls.is_empty() {
            return Err(Refusal::NoUrl);
        }
        let manifest = check.manifest.as_ref().ok_or(Refusal::NoPackage)?;
        let (payload, further) = manifest.packages.split_first().ok_or(Refusal::NoPackage)?;
        if payload.size == 0 {
            return Err(Refusal::NoSize { name: payload.name.clone() });
        }
        let mut actions = manifest.actions.iter().filter(|action| action.event == Action::POSTINSTALL);
        let action = actions.next().ok_or(Refusal::NoAction)?;
        Ok(Answer::Update(Offer {
            version: &manifest.version,
            urls: &check.urls,
            payload,
            sha256: action.sha256.ok_or(Refusal::NoSha256)?,
            further,
            max_failures_per_url: action.max_failures_per_url.unwrap_or(MAX_FAILURES_PER_URL),
            is_delta_payload: action.is_delta_payload,
            disable_payload_backoff: action.disable_payload_backoff,
            poll_interval,
        }))
    }
}

/// Where a package lies: CoreOS's clients put both one behind the other, Flatcar's put a slash between.
pub fn file_url(code_base: &str, name: &str) -> String {
    let slash = if code_base.ends_with('/') { "" } else { "/" };
    format!("{code_base}{slash}{name}")
}
