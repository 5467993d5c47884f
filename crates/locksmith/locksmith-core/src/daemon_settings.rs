//! locksmithd's validated settings.

use std::fmt;
use std::time::Duration;

use command_line::{Environment, ParsedArgs, SettingError, SettingSource};
use go_compat::parse_duration;
use thiserror::Error;

use crate::fleet_lock::FleetLock;
use crate::settings::{StoreSettings, read_store, source};
use crate::strategy::Strategy;
use crate::window::Window;

#[derive(Debug)]
pub enum DaemonMode {
    /// `REBOOT_STRATEGY=off`. The other settings, if valid, are needed to release what an earlier strategy
    /// holds.
    Off(Option<Box<DaemonSettings>>),
    Run(Box<DaemonSettings>),
}

#[derive(Debug, Clone)]
pub struct DaemonSettings {
    pub strategy: Strategy,
    pub window: Option<Window>,
    pub store: StoreSettings,
    /// The FleetLock server that keeps the lock instead of etcd.
    pub fleet_lock: Option<FleetLock>,
    /// `None`: units are not drained.
    pub drain_timeout: Option<Duration>,
    pub login_delay: Duration,
    pub retry_interval: Duration,
}

#[derive(Debug, Error)]
pub enum DaemonError {
    #[error("Either both or neither $REBOOT_WINDOW_START and $REBOOT_WINDOW_LENGTH must be set")]
    HalfWindow,
    #[error("Error parsing reboot window: {0}")]
    Window(SettingError),
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// A shorter interval would retry in a busy loop.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// Longer durations are taken for mistakes.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// # Errors
/// A setting is invalid.
pub fn daemon_mode(args: &ParsedArgs, environment: Environment<'_>) -> Result<DaemonMode, DaemonError> {
    let source = source("LOCKSMITHD", args, environment);
    let strategy = match source.variable("REBOOT_STRATEGY") {
        Some((origin, text)) => text.parse().map_err(|error| SettingError::new(origin, error))?,
        None => Strategy::default(),
    };
    let settings = settings(&source, strategy).map(Box::new);
    if strategy == Strategy::Off {
        return Ok(DaemonMode::Off(settings.ok()));
    }
    settings.map(DaemonMode::Run)
}

fn settings(source: &SettingSource<'_>, strategy: Strategy) -> Result<DaemonSettings, DaemonError> {
    let window = window(source)?;
    let store = read_store(source)?;
    let fleet_lock = source.read("fleet-lock-url", |url| FleetLock::new(url, &store.group))?;
    let drain = duration(source, "drain-timeout", Duration::ZERO)?;
    Ok(DaemonSettings {
        strategy,
        window,
        store,
        fleet_lock,
        drain_timeout: (!drain.is_zero()).then_some(drain),
        login_delay: duration(source, "login-delay", Duration::ZERO)?,
        retry_interval: duration(source, "retry-interval", MIN_RETRY_INTERVAL)?,
    })
}

/// These variables have no flags. Unprefixed names are those that cloud-config writes.
fn window(source: &SettingSource<'_>) -> Result<Option<Window>, DaemonError> {
    let prefixed_or_bare =
        |name: &str| source.variable(&format!("LOCKSMITHD_{name}")).or_else(|| source.variable(name));
    match (prefixed_or_bare("REBOOT_WINDOW_START"), prefixed_or_bare("REBOOT_WINDOW_LENGTH")) {
        (None, None) => Ok(None),
        (Some((origin, start)), Some((length_origin, length))) => {
            // Attributes the error to the start if it is invalid with any length.
            let origin = if Window::parse(&start, "0").is_err() { origin } else { length_origin };
            let parsed = Window::parse(&start, &length);
            parsed.map(Some).map_err(|error| DaemonError::Window(SettingError::new(origin, error)))
        }
        _ => Err(DaemonError::HalfWindow),
    }
}

fn duration(source: &SettingSource<'_>, flag: &'static str, min: Duration) -> Result<Duration, SettingError> {
    source.read_or_default(flag, |text| {
        let error = |reason: &dyn fmt::Display| format!("{text:?} {reason}");
        let parsed = parse_duration(text)
            .ok_or_else(|| error(&"is no length of time: it needs a unit, like 30s or 5m"))?;
        if parsed < min {
            return Err(error(&format_args!("is less than {min:?}")));
        }
        if parsed > MAX_DURATION {
            return Err(error(&"is more than a day"));
        }
        Ok(parsed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{DAEMON_FLAGS, FLAGS};
    use command_line::before_arguments;

    fn check(arguments: &[&str], variables: &[(&str, &str)], expect: &str) {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let flags = before_arguments(&[FLAGS, DAEMON_FLAGS].concat(), &arguments).unwrap();
        let environment =
            |name: &str| variables.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned());
        let got = match daemon_mode(&flags, &environment) {
            Ok(DaemonMode::Off(_)) => "off".to_owned(),
            Ok(DaemonMode::Run(settings)) => {
                let window = settings.window.map(|window| format!(" {window}"));
                let lock = settings.fleet_lock.map(|lock| format!(" {} {}", lock.url, lock.group));
                format!(
                    "{}{}{} {:?} {:?} {:?} {} {}",
                    settings.strategy,
                    window.unwrap_or_default(),
                    lock.unwrap_or_default(),
                    settings.drain_timeout,
                    settings.login_delay,
                    settings.retry_interval,
                    settings.store.fleet,
                    settings.store.endpoints.join(" "),
                )
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "{arguments:?} {variables:?}");
    }

    const REST: &str =
        "Some(300s) 300s 5s unix:///var/run/fleet.sock http://127.0.0.1:2379 http://127.0.0.1:4001";

    #[test]
    fn strategies() {
        check(&[], &[], &format!("reboot {REST}"));
        check(&[], &[("REBOOT_STRATEGY", "")], &format!("reboot {REST}"));
        check(&[], &[("REBOOT_STRATEGY", "best-effort")], &format!("best-effort {REST}"));
        check(&[], &[("REBOOT_STRATEGY", "off"), ("REBOOT_WINDOW_START", "x")], "off");
        check(
            &[],
            &[("REBOOT_STRATEGY", "bogus")],
            "$REBOOT_STRATEGY: unknown strategy: bogus: use reboot, etcd-lock, best-effort or off",
        );
    }

    #[test]
    fn windows() {
        let (start, length) = (("REBOOT_WINDOW_START", "14:00"), ("REBOOT_WINDOW_LENGTH", "1h"));
        let half = "Either both or neither $REBOOT_WINDOW_START and $REBOOT_WINDOW_LENGTH must be set";
        check(&[], &[start, length], &format!("reboot start is \"14:00\" and length is \"1h\" {REST}"));
        check(&[], &[start], half);
        check(&[], &[length], half);
        let extensions = ("LOCKSMITHD_REBOOT_WINDOW_START", "Thu 4:00");
        check(
            &[],
            &[start, extensions, length],
            &format!("reboot start is \"Thu 4:00\" and length is \"1h\" {REST}"),
        );
        check(
            &[],
            &[("LOCKSMITHD_REBOOT_WINDOW_START", "4"), length],
            "Error parsing reboot window: $LOCKSMITHD_REBOOT_WINDOW_START: \
             invalid time of day \"4\": expected hours and minutes, like 4:30",
        );
        check(
            &[],
            &[start, ("REBOOT_WINDOW_LENGTH", "1")],
            "Error parsing reboot window: $REBOOT_WINDOW_LENGTH: \"1\" is no length of time: it needs units, like 1h30m",
        );
    }

    #[test]
    fn extensions() {
        check(
            &["-drain-timeout", "0", "--login-delay=1s"],
            &[
                ("LOCKSMITHD_RETRY_INTERVAL", "100ms"),
                ("LOCKSMITHD_FLEET_LOCK_URL", "http://l:1/"),
                ("LOCKSMITHD_GROUP", "db"),
                ("LOCKSMITHD_FLEET_ENDPOINT", "http://f:1"),
                ("LOCKSMITHD_ENDPOINT", "http://e:1"),
                ("LOCKSMITHCTL_ENDPOINT", "http://x:1"),
            ],
            "reboot http://l:1 db None 1s 100ms http://f:1 http://e:1",
        );
        check(
            &[],
            &[("LOCKSMITHD_FLEET_LOCK_URL", "http://l:1"), ("LOCKSMITHD_GROUP", "a b")],
            "$LOCKSMITHD_FLEET_LOCK_URL: \"a b\" is no group of FleetLock: letters, digits, `.` and `-` only",
        );
        let bad = [
            ("0", "\"0\" is less than 10ms"),
            ("5", "\"5\" is no length of time: it needs a unit, like 30s or 5m"),
            ("25h", "\"25h\" is more than a day"),
        ];
        for (text, reason) in bad {
            check(
                &[],
                &[("LOCKSMITHD_RETRY_INTERVAL", text)],
                &format!("$LOCKSMITHD_RETRY_INTERVAL: {reason}"),
            );
        }
    }
}
