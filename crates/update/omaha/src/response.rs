//! Responses: one app per app of the request.

use crate::code::ErrorCode;
use crate::digest::Sha256;
use crate::error::ReadError;
use crate::limits::{ACTIONS, APPS, EVENTS, PACKAGES, RESPONSE_BYTES, URLS};
use crate::read::{Element, document};
use crate::request::{App, check_protocol};
use crate::write::{HEAD, attribute, plain};

/// Keelson's extension: why there is no update.
const REASON: &str = "keelson-reason";

/// `response`: the answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// Name of the server.
    pub server: String,
    /// Seconds since midnight.
    pub day_start: u32,
    /// `app`, in the order of the request.
    pub apps: Vec<ResponseApp>,
}

/// `app`: the answer to one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseApp {
    /// As in the request.
    pub app_id: String,
    /// `status`.
    pub status: AppStatus,
    /// The element `ping` is acknowledged.
    pub ping: bool,
    /// The element `updatecheck`; absent if the request had none.
    pub update_check: Option<UpdateCheck>,
    /// Number of acknowledged events.
    pub events: usize,
}

impl ResponseApp {
    /// Echoes the id, ping and events of `request`. Adds `update_check` if the request has a check.
    pub fn echo(request: &App, status: AppStatus, update_check: UpdateCheck) -> Self {
        Self {
            app_id: request.app_id.clone(),
            status,
            ping: request.ping,
            update_check: request.update_check.then_some(update_check),
            events: request.events.len(),
        }
    }
}

macro_rules! status {
    ($(#[$about:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// A status of another server.
            Other(String),
        }

        impl $name {
            /// As in the attribute.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }

            fn read(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }
    };
}

status! {
    /// Whether the application is served.
    AppStatus {
        Ok = "ok",
        Restricted = "restricted",
        UnknownApplication = "error-unknownApplication",
        UnknownApplicationOrGroup = "error-unknownApplicationOrGroup",
        InvalidAppId = "error-invalidAppId",
        InvalidVersion = "error-invalidVersion",
        NoPackageFound = "error-noPackageFound",
        InstanceRegistrationFailed = "error-instanceRegistrationFailed",
        Internal = "error-internal",
    }
}

status! {
    /// Result of an update check.
    UpdateStatus {
        Ok = "ok",
        NoUpdate = "noupdate",
        OsNotSupported = "error-osnotsupported",
        UnsupportedProtocol = "error-unsupportedProtocol",
        PluginRestrictedHost = "error-pluginRestrictedHost",
        Hash = "error-hash",
        Internal = "error-internal",
    }
}

/// `updatecheck`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateCheck {
    /// `status`; all else is meaningful for `ok` only, except the reason and the interval.
    pub status: UpdateStatus,
    /// Why there is no update; sent by Keelson servers.
    pub reason: Option<String>,
    /// Seconds until the next check, as requested by the server.
    pub poll_interval: Option<u32>,
    /// Base URLs in order, each with a trailing slash.
    pub urls: Vec<String>,
    /// `manifest`; present if there is an update.
    pub manifest: Option<Manifest>,
}

impl UpdateCheck {
    /// Without an interval.
    pub fn without_update(status: UpdateStatus, reason: Option<String>) -> Self {
        Self { status, reason, poll_interval: None, urls: Vec::new(), manifest: None }
    }
}

/// `manifest`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// Informational: the signed metadata has the version, too.
    pub version: String,
    /// The payload comes first.
    pub packages: Vec<Package>,
    /// `actions`; only `postinstall` has a meaning.
    pub actions: Vec<Action>,
}

/// `package`: a file below one of the URLs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Package {
    /// Relative to a base URL.
    pub name: String,
    /// SHA-1 in base64. Some clients verify it; update_engine and Keelson do not.
    pub sha1: String,
    /// Of the file; absent in responses of other servers.
    pub sha256: Option<Sha256>,
    /// In bytes.
    pub size: u64,
    /// `required`: the installation needs the file.
    pub required: bool,
}

/// `action`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Action {
    /// `event`: when it is executed.
    pub event: String,
    /// Of the payload.
    pub sha256: Option<Sha256>,
    /// `needsadmin`.
    pub needs_admin: bool,
    /// `DisablePayloadBackoff`.
    pub disable_payload_backoff: bool,
    /// `IsDeltaPayload`.
    pub is_delta_payload: bool,
    /// `MaxFailureCountPerUrl`.
    pub max_failures_per_url: Option<u32>,
}

impl Action {
    pub(crate) const POSTINSTALL: &str = "postinstall";

    /// The action of an installation. Disables the backoff after failures (contract 2.5.3).
    pub fn postinstall(payload: Sha256) -> Self {
        Self {
            event: Self::POSTINSTALL.to_owned(),
            sha256: Some(payload),
            disable_payload_backoff: true,
            ..Self::default()
        }
    }
}

impl ReadError {
    /// The error code that a machine reports.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Empty => ErrorCode::EMPTY_RESPONSE,
            Self::NotUtf8 { .. } | Self::Xml { .. } | Self::Large { .. } => ErrorCode::XML_PARSE,
            _ => ErrorCode::RESPONSE_INVALID,
        }
    }
}

impl Response {
    /// # Errors
    /// The text is not a response of protocol 3.0, exceeds 1 MiB, or has an invalid value.
    pub fn read(text: &[u8]) -> Result<Self, ReadError> {
        document(text, RESPONSE_BYTES, "response", |response| {
            check_protocol(response)?;
            let day_start =
                response.child("daystart").map(|day| day.number("elapsed_seconds")).transpose()?;
            Ok(Self {
                server: response.text("server"),
                day_start: day_start.flatten().unwrap_or_default(),
                apps: response.list("app", APPS, app)?,
            })
        })
    }

    /// As XML, with the declaration.
    pub fn write(&self) -> String {
        let mut out = HEAD.to_owned();
        out.push_str("<response protocol=\"3.0\"");
        attribute(&mut out, "server", &self.server);
        out.push_str(">\n <daystart");
        plain(&mut out, "elapsed_seconds", self.day_start);
        out.push_str("></daystart>\n");
        for app in &self.apps {
            write_app(&mut out, app);
        }
        out.push_str("</response>\n");
        out
    }
}

fn app(app: Element<'_, '_>) -> Result<ResponseApp, ReadError> {
    Ok(ResponseApp {
        app_id: app.text("appid"),
        status: AppStatus::read(app.attribute_text("status").unwrap_or_default()),
        ping: app.child("ping").is_some(),
        update_check: app.child("updatecheck").map(update_check).transpose()?,
        events: app.list("event", EVENTS, |_| Ok(()))?.len(),
    })
}

fn update_check(check: Element<'_, '_>) -> Result<UpdateCheck, ReadError> {
    let url = |url: Element<'_, '_>| Ok(url.text("codebase"));
    Ok(UpdateCheck {
        status: UpdateStatus::read(check.attribute_text("status").unwrap_or_default()),
        reason: check.attribute_text(REASON).map(str::to_owned),
        poll_interval: check.number("PollInterval")?,
        urls: check.child("urls").map(|urls| urls.list("url", URLS, url)).transpose()?.unwrap_or_default(),
        manifest: check.child("manifest").map(manifest).transpose()?,
    })
}

fn manifest(manifest: Element<'_, '_>) -> Result<Manifest, ReadError> {
    let packages = manifest.child("packages").map(|packages| packages.list("package", PACKAGES, package));
    let actions = manifest.child("actions").map(|actions| actions.list("action", ACTIONS, action));
    Ok(Manifest {
        version: manifest.text("version"),
        packages: packages.transpose()?.unwrap_or_default(),
        actions: actions.transpose()?.unwrap_or_default(),
    })
}

fn package(package: Element<'_, '_>) -> Result<Package, ReadError> {
    Ok(Package {
        name: package.text("name"),
        sha1: package.text("hash"),
        sha256: package.digest("hash_sha256")?,
        size: package.number("size")?.unwrap_or_default(),
        required: package.is_true("required"),
    })
}

fn action(action: Element<'_, '_>) -> Result<Action, ReadError> {
    Ok(Action {
        event: action.text("event"),
        sha256: action.digest("sha256")?,
        needs_admin: action.is_true("needsadmin"),
        disable_payload_backoff: action.is_true("DisablePayloadBackoff"),
        is_delta_payload: action.is_true("IsDeltaPayload"),
        max_failures_per_url: action.number("MaxFailureCountPerUrl")?,
    })
}

fn write_app(out: &mut String, app: &ResponseApp) {
    out.push_str(" <app");
    attribute(out, "appid", &app.app_id);
    attribute(out, "status", app.status.as_str());
    out.push_str(">\n");
    if app.ping {
        out.push_str("  <ping status=\"ok\"></ping>\n");
    }
    if let Some(check) = &app.update_check {
        write_update_check(out, check);
    }
    for _ in 0..app.events {
        out.push_str("  <event status=\"ok\"></event>\n");
    }
    out.push_str(" </app>\n");
}

fn write_update_check(out: &mut String, check: &UpdateCheck) {
    out.push_str("  <updatecheck");
    attribute(out, "status", check.status.as_str());
    if let Some(reason) = &check.reason {
        attribute(out, REASON, reason);
    }
    if let Some(seconds) = check.poll_interval {
        plain(out, "PollInterval", seconds);
    }
    out.push('>');
    if !check.urls.is_empty() {
        out.push_str("\n   <urls>");
        for url in &check.urls {
            out.push_str("<url");
            attribute(out, "codebase", url);
            out.push_str("></url>");
        }
        out.push_str("</urls>\n  ");
    }
    if let Some(manifest) = &check.manifest {
        out.push_str(" <manifest");
        attribute(out, "version", &manifest.version);
        out.push_str(">\n    <packages>");
        manifest.packages.iter().for_each(|package| write_package(out, package));
        out.push_str("</packages>\n    <actions>");
        manifest.actions.iter().for_each(|action| write_action(out, action));
        out.push_str("</actions>\n   </manifest>\n  ");
    }
    out.push_str("</updatecheck>\n");
}

fn write_package(out: &mut String, package: &Package) {
    out.push_str("<package");
    attribute(out, "name", &package.name);
    attribute(out, "hash", &package.sha1);
    if let Some(sha256) = package.sha256 {
        plain(out, "hash_sha256", sha256);
    }
    plain(out, "size", package.size);
    plain(out, "required", package.required);
    out.push_str("></package>");
}

fn write_action(out: &mut String, action: &Action) {
    out.push_str("<action");
    attribute(out, "event", &action.event);
    if let Some(sha256) = action.sha256 {
        plain(out, "sha256", sha256.base64());
    }
    plain(out, "needsadmin", action.needs_admin);
    plain(out, "DisablePayloadBackoff", action.disable_payload_backoff);
    plain(out, "IsDeltaPayload", action.is_delta_payload);
    if let Some(count) = action.max_failures_per_url {
        plain(out, "MaxFailureCountPerUrl", count);
    }
    out.push_str("></action>");
}
