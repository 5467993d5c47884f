//! Requests: the machine's properties with a ping, an update check or events.

use crate::PROTOCOL;
use crate::code::{ErrorCode, EventResult, EventType};
use crate::error::ReadError;
use crate::limits::{APPS, EVENTS, REQUEST_BYTES};
use crate::read::{Element, document};
use crate::write::{HEAD, attribute, plain};

/// `installsource` of a check requested by a person.
pub const ON_DEMAND: &str = "ondemandupdate";
/// `installsource` of a periodic check.
pub const SCHEDULED: &str = "scheduler";

/// `request`: what one machine sends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Of the updater: `update_engine-0.4.10`.
    pub version: String,
    /// `updaterversion`; usually equal to `version`.
    pub updater_version: String,
    /// [`ON_DEMAND`] or [`SCHEDULED`].
    pub install_source: String,
    /// `ismachine`: the updater works for the system, not for a user.
    pub is_machine: bool,
    /// `os`: the operating system.
    pub os: Os,
    /// `app`: usually one, the operating system itself.
    pub apps: Vec<App>,
}

/// Strings are empty if absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Os {
    /// `Chateau` for CoreOS.
    pub version: String,
    /// `CoreOS`.
    pub platform: String,
    /// `VERSION_MACHINE`, for example `2023.5.0_x86_64`.
    pub sp: String,
    /// Sent by other clients only.
    pub arch: Option<String>,
}

/// Missing strings are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct App {
    /// As received, for the response. Compare with [`crate::same_app`].
    pub app_id: String,
    /// The running version.
    pub version: String,
    /// The group.
    pub track: String,
    /// In braces.
    pub boot_id: String,
    /// `oem`: the id in `/etc/oem-release` or `/usr/share/oem/oem-release`.
    pub oem: String,
    /// `oemversion`: the version in the same file.
    pub oem_version: String,
    /// The version at the machine's first boot.
    pub aleph_version: String,
    /// Without braces.
    pub machine_id: String,
    /// Flatcar's extension.
    pub machine_alias: Option<String>,
    /// `lang`: `en-US`.
    pub lang: String,
    /// `board`: `amd64-usr`.
    pub board: String,
    /// `hardware_class`; empty on CoreOS.
    pub hardware_class: String,
    /// `delta_okay`: the machine can apply deltas.
    pub delta_okay: bool,
    /// The element `ping` is present.
    pub ping: bool,
    /// The element `updatecheck` is present.
    pub update_check: bool,
    /// `event`: what happened since the last request.
    pub events: Vec<Event>,
}

/// `event`: a report about an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `eventtype`.
    pub kind: EventType,
    /// `eventresult`.
    pub result: EventResult,
    /// `errorcode`; absent if 0.
    pub error: Option<ErrorCode>,
    /// With `3/2`: the version before the reboot, empty without an update.
    pub previous_version: Option<String>,
}

impl Event {
    /// Without error code and previous version.
    pub fn new(kind: EventType, result: EventResult) -> Self {
        Self { kind, result, error: None, previous_version: None }
    }

    /// `3/0` with an error code.
    pub fn failed(error: ErrorCode) -> Self {
        Self { error: Some(error), ..Self::new(EventType::UPDATE_COMPLETE, EventResult::ERROR) }
    }

    /// Part of each check: the previous version, if this is the first check after an update.
    pub fn rebooted(previous: &str) -> Self {
        let event = Self::new(EventType::UPDATE_COMPLETE, EventResult::SUCCESS_REBOOT);
        Self { previous_version: Some(previous.to_owned()), ..event }
    }

    /// The version before the reboot into a new one, if the event reports one. The first check of a machine reports
    /// `0.0.0.0`.
    pub fn completed_from(&self) -> Option<&str> {
        let rebooted = self.kind == EventType::UPDATE_COMPLETE && self.result == EventResult::SUCCESS_REBOOT;
        self.previous_version.as_deref().filter(|version| rebooted && !["", "0.0.0.0"].contains(version))
    }
}

impl Request {
    /// # Errors
    /// The text is not a request of protocol 3.0, exceeds 64 KiB, or has an invalid value.
    pub fn read(text: &[u8]) -> Result<Self, ReadError> {
        document(text, REQUEST_BYTES, "request", |request| {
            check_protocol(request)?;
            let os = request.child("os").map(|os| Os {
                version: os.text("version"),
                platform: os.text("platform"),
                sp: os.text("sp"),
                arch: os.attribute_text("arch").map(str::to_owned),
            });
            Ok(Self {
                version: request.text("version"),
                updater_version: request.text("updaterversion"),
                install_source: request.text("installsource"),
                is_machine: ["1", "true"].map(Some).contains(&request.attribute_text("ismachine")),
                os: os.unwrap_or_default(),
                apps: request.list("app", APPS, app)?,
            })
        })
    }

    /// Byte-identical to update_engine for its values.
    pub fn write(&self) -> String {
        let mut out = HEAD.to_owned();
        out.push_str("<request protocol=\"3.0\"");
        attribute(&mut out, "version", &self.version);
        attribute(&mut out, "updaterversion", &self.updater_version);
        attribute(&mut out, "installsource", &self.install_source);
        plain(&mut out, "ismachine", u8::from(self.is_machine));
        out.push_str(">\n    <os");
        attribute(&mut out, "version", &self.os.version);
        attribute(&mut out, "platform", &self.os.platform);
        attribute(&mut out, "sp", &self.os.sp);
        if let Some(arch) = &self.os.arch {
            attribute(&mut out, "arch", arch);
        }
        out.push_str("></os>\n");
        for app in &self.apps {
            write_app(&mut out, app);
        }
        out.push_str("</request>\n");
        out
    }
}

pub(crate) fn check_protocol(root: Element<'_, '_>) -> Result<(), ReadError> {
    match root.attribute_text("protocol") {
        Some(PROTOCOL) => Ok(()),
        found => {
            let found = found.unwrap_or_default().chars().take(20).collect();
            Err(ReadError::Protocol { position: root.position(), found })
        }
    }
}

fn app(app: Element<'_, '_>) -> Result<App, ReadError> {
    Ok(App {
        app_id: app.text("appid"),
        version: app.text("version"),
        track: app.text("track"),
        boot_id: app.text("bootid"),
        oem: app.text("oem"),
        oem_version: app.text("oemversion"),
        aleph_version: app.text("alephversion"),
        machine_id: app.text("machineid"),
        machine_alias: app.attribute_text("machinealias").map(str::to_owned),
        lang: app.text("lang"),
        board: app.text("board"),
        hardware_class: app.text("hardware_class"),
        delta_okay: app.is_true("delta_okay"),
        ping: app.child("ping").is_some(),
        update_check: app.child("updatecheck").is_some(),
        events: app.list("event", EVENTS, event)?,
    })
}

fn event(event: Element<'_, '_>) -> Result<Event, ReadError> {
    let number = |attribute| event.number(attribute)?.ok_or_else(|| event.missing(attribute));
    Ok(Event {
        kind: EventType(number("eventtype")?),
        result: EventResult(number("eventresult")?),
        error: event.value("errorcode", "not an error code", error_code)?,
        previous_version: event.attribute_text("previousversion").map(str::to_owned),
    })
}

/// update_engine prints a signed number, negative if the highest flag is set.
fn error_code(text: &str) -> Option<ErrorCode> {
    let number: i64 = text.trim().parse().ok()?;
    let bits = u32::try_from(number).ok().or_else(|| i32::try_from(number).ok().map(i32::cast_unsigned));
    bits.map(ErrorCode)
}

fn write_app(out: &mut String, app: &App) {
    out.push_str("    <app");
    for (name, value) in [
        ("appid", &app.app_id),
        ("version", &app.version),
        ("track", &app.track),
        ("bootid", &app.boot_id),
        ("oem", &app.oem),
        ("oemversion", &app.oem_version),
        ("alephversion", &app.aleph_version),
        ("machineid", &app.machine_id),
    ] {
        attribute(out, name, value);
    }
    if let Some(alias) = &app.machine_alias {
        attribute(out, "machinealias", alias);
    }
    attribute(out, "lang", &app.lang);
    attribute(out, "board", &app.board);
    attribute(out, "hardware_class", &app.hardware_class);
    plain(out, "delta_okay", app.delta_okay);
    // As in the original.
    out.push_str(" >\n");
    if app.ping {
        out.push_str("        <ping active=\"1\"></ping>\n");
    }
    if app.update_check {
        out.push_str("        <updatecheck></updatecheck>\n");
    }
    for event in &app.events {
        out.push_str("        <event");
        plain(out, "eventtype", event.kind.0);
        plain(out, "eventresult", event.result.0);
        if let Some(error) = event.error {
            plain(out, "errorcode", error.0);
        }
        if let Some(version) = &event.previous_version {
            attribute(out, "previousversion", version);
        }
        out.push_str("></event>\n");
    }
    out.push_str("    </app>\n");
}
