//! Errors, with systemd's own messages where they exist.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use unit_file::UnitName;
use zbus::{DBusError as _, fdo};

/// D-Bus errors for a systemd that is not on the bus or disconnected before it replied.
const UNAVAILABLE_ERRORS: [&str; 4] = [
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.Disconnected",
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
];
/// Prefix of D-Bus errors for a failed activation of systemd.
const SPAWN_ERROR_PREFIX: &str = "org.freedesktop.DBus.Error.Spawn.";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const NO_SUCH_PROCESS: &str = "org.freedesktop.systemd1.NoSuchProcess";
const NO_SUCH_JOB: &str = "org.freedesktop.systemd1.NoSuchJob";
const ALREADY_SUBSCRIBED: &str = "org.freedesktop.systemd1.AlreadySubscribed";
const FILE_NOT_FOUND: &str = "org.freedesktop.DBus.Error.FileNotFound";

/// Why an operation failed.
#[derive(Debug, Clone, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    #[error("cannot {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: Arc<io::Error> },
    #[error("cannot reach systemd over D-Bus")]
    Connect(#[source] Box<zbus::Error>),
    /// The call may have been executed.
    #[error("{call}: the connection to systemd was lost")]
    Lost { call: String, source: Option<Box<zbus::Error>> },
    #[error("{call} had no response within {} s", limit.as_secs())]
    TimedOut { call: String, limit: Duration },
    /// An error reply of systemd.
    #[error("{call}: {name}: {text}")]
    Method { call: String, name: String, text: String },
    #[error("{call}: systemd's response is malformed")]
    InvalidReply { call: String, source: Box<zbus::Error> },
    #[error(
        "{unit} is a unit of this machine itself, by {}: one of the folder would take its place; it needs another name",
        path.display()
    )]
    NameConflict { unit: UnitName, path: PathBuf },
    #[error("systemd cannot run {unit}: {why}")]
    UnsupportedName { unit: UnitName, why: &'static str },
    #[error("Failed to enable systemd unit {unit}")]
    Enable { unit: UnitName, source: Box<Error> },
    #[error("its [Install] section names nothing that it could be enabled by")]
    NothingToEnable,
    #[error("{unit} has not stopped within {} s; systemd is still stopping it", limit.as_secs())]
    StillStopping { unit: UnitName, limit: Duration },
    /// The job ended, but the unit is active.
    #[error("{unit} was not stopped: the job's result is {result}, the unit is {active}")]
    NotStopped { unit: UnitName, result: String, active: String },
}

impl Error {
    pub(crate) fn of_call(call: String, error: zbus::Error) -> Self {
        let method_error = |name: String, text: Option<&str>, call| Self::Method {
            call,
            name,
            text: text.unwrap_or("no text").to_owned(),
        };
        match error {
            zbus::Error::MethodError(name, text, _) => method_error(name.to_string(), text.as_deref(), call),
            zbus::Error::FDO(error) => match *error {
                fdo::Error::ZBus(error) => Self::of_call(call, error),
                error => method_error(error.name().to_string(), error.description(), call),
            },
            zbus::Error::InputOutput(_) => Self::Lost { call, source: Some(Box::new(error)) },
            error => Self::InvalidReply { call, source: Box::new(error) },
        }
    }

    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File { what, path: path.into(), source: Arc::new(source) }
    }

    /// Whether bus or systemd were unreachable, so that a retry may succeed.
    pub(crate) fn is_disconnect(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Lost { .. } => true,
            Self::Method { name, .. } => {
                UNAVAILABLE_ERRORS.contains(&name.as_str()) || name.starts_with(SPAWN_ERROR_PREFIX)
            }
            _ => false,
        }
    }

    /// Whether a unit, its file, its processes or a job does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        const NOT_FOUND_ERRORS: [&str; 4] = [NO_SUCH_UNIT, NO_SUCH_PROCESS, NO_SUCH_JOB, FILE_NOT_FOUND];
        matches!(self, Self::Method { name, .. } if NOT_FOUND_ERRORS.contains(&name.as_str()))
    }

    pub(crate) fn is_already_subscribed(&self) -> bool {
        matches!(self, Self::Method { name, .. } if name == ALREADY_SUBSCRIBED)
    }
}
