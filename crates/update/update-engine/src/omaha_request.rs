//! Omaha requests to the server.

use omaha::{App, Event, Os, Request, Response, registration};
use update_worker::HttpError;

use crate::error::{Failure, Kind};
use crate::http::HttpClient;
use crate::identity::Identity;
use crate::settings::Settings;

/// The last version of CoreOS's client.
const UPDATER: &str = "update_engine-0.4.10";
/// Maximum size of a response in bytes.
const MAX_RESPONSE: u64 = 1 << 20;
/// Characters of an invalid body to log.
const EXCERPT: usize = 200;

/// Why the request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstallSource {
    Scheduler,
    OnDemand,
}

#[derive(Debug, Clone)]
pub struct OmahaRequest<'a> {
    pub identity: &'a Identity,
    pub settings: &'a Settings,
    pub aleph_version: String,
    pub source: InstallSource,
    /// Include a ping.
    pub ping: bool,
    /// Include an update check.
    pub update_check: bool,
    pub events: Vec<Event>,
}

impl OmahaRequest<'_> {
    /// Byte-identical to CoreOS's client.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { identity, settings, .. } = self;
        let version = identity.version.to_string();
        Request {
            version: UPDATER.to_owned(),
            updater_version: UPDATER.to_owned(),
            install_source: match self.source {
                InstallSource::Scheduler => omaha::SCHEDULED,
                InstallSource::OnDemand => omaha::ON_DEMAND,
            }
            .to_owned(),
            is_machine: true,
            os: Os {
                version: "Chateau".to_owned(),
                platform: "CoreOS".to_owned(),
                sp: format!("{version}_{}", std::env::consts::ARCH),
                arch: None,
            },
            apps: vec![App {
                app_id: identity.appid.clone(),
                version,
                track: settings.group.clone(),
                boot_id: format!("{{{}}}", identity.boot_id),
                oem: identity.oem.clone(),
                oem_version: identity.oem_version.clone(),
                aleph_version: self.aleph_version.clone(),
                machine_id: identity.machine_id.clone(),
                machine_alias: settings.machine_alias.clone(),
                lang: "en-US".to_owned(),
                board: identity.board.clone(),
                hardware_class: String::new(),
                delta_okay: true,
                ping: self.ping,
                update_check: self.update_check,
                events: self.events.clone(),
            }],
        }
        .write()
    }

    /// Sends the request and parses the response.
    pub fn send(&self, http: &HttpClient, url: &str) -> Result<Response, Failure> {
        let text = self.text();
        let code = self.settings.registration.as_ref().map(|token| token.code(&text));
        let header = code.map(|code| format!("{}: {code}", registration::HEADER));
        let body = http.post(url, header.as_deref(), &text, MAX_RESPONSE).map_err(|error| {
            let (kind, code) = match error {
                HttpError::Status { status: status @ (500 | 503), .. } => {
                    (Kind::Busy, omaha::ErrorCode::http(status))
                }
                HttpError::Status { status, .. } => (Kind::Transient, omaha::ErrorCode::http(status)),
                _ => (Kind::Transient, omaha::ErrorCode::DOWNLOAD_TRANSFER),
            };
            Failure::new(kind, code, &error)
        })?;
        if body.iter().all(u8::is_ascii_whitespace) {
            let message = "the server's response is empty".to_owned();
            return Err(Failure::text(Kind::Transient, omaha::ErrorCode::EMPTY_RESPONSE, message));
        }
        Response::read(&body).map_err(|error| {
            let text = String::from_utf8_lossy(&body);
            let excerpt: String = text.chars().take(EXCERPT).collect();
            let message = format!(
                "invalid response of the server: {}; it starts with {excerpt:?}",
                service::error::chain(&error)
            );
            Failure::text(Kind::Transient, omaha::ErrorCode::XML_PARSE, message)
        })
    }
}
