//! Interprets a response as update_engine does, which uses the first element of each kind.

use crate::code::ErrorCode;
use crate::digest::Sha256;
use crate::response::{Action, Package, Response, UpdateStatus};

/// Default of the protocol.
const MAX_FAILURES_PER_URL: u32 = 10;

/// What the server decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckResponse<'a> {
    /// With the reason if sent by a Keelson server.
    NoUpdate {
        /// Keelson's `keelson-reason`.
        reason: Option<&'a str>,
        /// In seconds.
        poll_interval: Option<u32>,
    },
    /// A complete offer.
    Update(Offer<'a>),
}

/// An update, as the machine needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer<'a> {
    /// For display only: the signed metadata determines the version.
    pub version: &'a str,
    /// Base URLs in order of preference, at least one.
    pub urls: &'a [String],
    /// The first package.
    pub payload: &'a Package,
    /// Of the payload.
    pub sha256: Sha256,
    /// All other packages: the signed metadata.
    pub additional: &'a [Package],
    /// Failures at a URL before the next one is used.
    pub max_failures_per_url: u32,
    /// For display only: the signed metadata determines the method.
    pub is_delta_payload: bool,
    /// Failures do not delay the next attempt.
    pub disable_payload_backoff: bool,
    /// In seconds.
    pub poll_interval: Option<u32>,
}

/// Why a valid response is unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ResponseError {
    #[error("the server responded with status {check:?} (application status {app:?})")]
    Status { check: String, app: String },
    #[error("the response has no updatecheck element")]
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

impl ResponseError {
    /// The code to report.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::RESPONSE_INVALID
    }
}

impl Response {
    /// # Errors
    /// The server rejected the request, or its offer is incomplete.
    pub fn check_response(&self) -> Result<CheckResponse<'_>, ResponseError> {
        let mut checks = self.apps.iter().filter_map(|app| Some((app, app.update_check.as_ref()?)));
        let (app, check) = checks.next().ok_or(ResponseError::NoCheck)?;
        let poll_interval = check.poll_interval;
        match check.status {
            UpdateStatus::NoUpdate => {
                return Ok(CheckResponse::NoUpdate { reason: check.reason.as_deref(), poll_interval });
            }
            UpdateStatus::Ok => {}
            ref other => {
                let (check, app) = (other.as_str().to_owned(), app.status.as_str().to_owned());
                return Err(ResponseError::Status { check, app });
            }
        }
        if check.urls.is_empty() {
            return Err(ResponseError::NoUrl);
        }
        let manifest = check.manifest.as_ref().ok_or(ResponseError::NoPackage)?;
        let (payload, additional) = manifest.packages.split_first().ok_or(ResponseError::NoPackage)?;
        if payload.size == 0 {
            return Err(ResponseError::NoSize { name: payload.name.clone() });
        }
        let mut actions = manifest.actions.iter().filter(|action| action.event == Action::POSTINSTALL);
        let action = actions.next().ok_or(ResponseError::NoAction)?;
        Ok(CheckResponse::Update(Offer {
            version: &manifest.version,
            urls: &check.urls,
            payload,
            sha256: action.sha256.ok_or(ResponseError::NoSha256)?,
            additional,
            max_failures_per_url: action.max_failures_per_url.unwrap_or(MAX_FAILURES_PER_URL),
            is_delta_payload: action.is_delta_payload,
            disable_payload_backoff: action.disable_payload_backoff,
            poll_interval,
        }))
    }
}

/// The URL of a package. CoreOS's clients concatenate both, Flatcar's insert a slash.
pub fn file_url(code_base: &str, name: &str) -> String {
    let slash = if code_base.ends_with('/') { "" } else { "/" };
    format!("{code_base}{slash}{name}")
}
