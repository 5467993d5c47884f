//! Settings of a container: those of the image, and the caller's overrides.

use std::collections::BTreeSet;

use crate::config::{ContainerConfig, NameSet};
use crate::user::UserSpec;

/// Docker's search path of programs, for images without one.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_STOP_SIGNAL: &str = "SIGTERM";
/// Linux's signals from 1 on.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The real-time signals that programs may use.
const REAL_TIME: std::ops::RangeInclusive<u8> = 34..=64;

/// What replaces the image's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Replaces the entrypoint, and with it the image's command.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the command: the arguments of the entrypoint.
    pub command: Option<Vec<String>>,
    /// Added to the environment; the last of a name counts.
    pub environment: Vec<(String, String)>,
    /// `USER[:GROUP]`, names or numbers.
    pub user: Option<String>,
    /// An absolute path in the container.
    pub directory: Option<String>,
    /// A name or number.
    pub stop_signal: Option<String>,
}

/// A port that an image declares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The port.
    pub number: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

impl Port {
    /// rkt's name of the port: `80-tcp`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}", self.number, self.protocol)
    }
}

/// How a container starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// Program and arguments; never empty.
    pub arguments: Vec<String>,
    /// Names and values, each name once.
    pub environment: Vec<(String, String)>,
    /// User and group.
    pub user: UserSpec,
    /// The working directory: an absolute path.
    pub directory: String,
    /// Declared ports.
    pub ports: BTreeSet<Port>,
    /// Declared mount points: absolute paths.
    pub volumes: BTreeSet<String>,
    /// The number of the signal that stops it.
    pub stop_signal: u8,
}

/// Which setting is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum SettingsError {
    #[error("the image has no command; pass one")]
    NoCommand,
    #[error("{setting} {value:?} contains a NUL character")]
    Nul { setting: &'static str, value: String },
    #[error("environment entry {0:?}; expected NAME=VALUE")]
    Environment(String),
    #[error("user {0:?}; expected USER[:GROUP]")]
    User(String),
    #[error("{setting} {path:?} is no absolute path without `..`")]
    Path { setting: &'static str, path: String },
    #[error("port {0:?}; expected NUMBER[/tcp|udp|sctp]")]
    Port(String),
    #[error("stop signal {0:?}; expected a name such as SIGTERM, or a number")]
    StopSignal(String),
}

/// Combines an image's settings with the caller's.
///
/// # Errors
/// A setting is invalid, or there is nothing to run.
pub fn settings(config: &ContainerConfig, overrides: &Overrides) -> Result<RuntimeSettings, SettingsError> {
    let stop_signal = overrides.stop_signal.as_deref().or(config.stop_signal.as_deref());
    let user = overrides.user.as_deref().or(config.user.as_deref()).unwrap_or_default();
    let directory = overrides.directory.as_ref().or(config.working_dir.as_ref());
    let directory = directory.filter(|directory| !directory.is_empty()).map_or("/", String::as_str);
    let volumes = config.volumes.iter().flat_map(NameSet::keys);
    let ports = config.exposed_ports.iter().flat_map(NameSet::keys);
    Ok(RuntimeSettings {
        arguments: arguments(config, overrides)?,
        environment: environment(config, overrides)?,
        user: UserSpec::parse(user).ok_or_else(|| SettingsError::User(user.to_owned()))?,
        directory: absolute("working directory", directory)?,
        ports: ports.map(|port| parse_port(port)).collect::<Result<_, _>>()?,
        volumes: volumes.map(|path| absolute("volume", path)).collect::<Result<_, _>>()?,
        stop_signal: parse_signal(stop_signal.unwrap_or(DEFAULT_STOP_SIGNAL))?,
    })
}

fn arguments(config: &ContainerConfig, overrides: &Overrides) -> Result<Vec<String>, SettingsError> {
    let image_command = if overrides.entrypoint.is_some() { None } else { config.cmd.as_ref() };
    let entrypoint = overrides.entrypoint.as_ref().or(config.entrypoint.as_ref());
    let command = overrides.command.as_ref().or(image_command);
    let arguments: Vec<String> = entrypoint.into_iter().chain(command).flatten().cloned().collect();
    if arguments.first().is_none_or(String::is_empty) {
        return Err(SettingsError::NoCommand);
    }
    for argument in &arguments {
        refuse_nul("argument", argument)?;
    }
    Ok(arguments)
}

fn environment(
    config: &ContainerConfig,
    overrides: &Overrides,
) -> Result<Vec<(String, String)>, SettingsError> {
    let mut environment = vec![("PATH".to_owned(), DEFAULT_PATH.to_owned())];
    let image = config.env.iter().flatten().map(|entry| {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        (name.to_owned(), value.to_owned())
    });
    for (name, value) in image.chain(overrides.environment.iter().cloned()) {
        if name.is_empty() || name.contains('=') {
            return Err(SettingsError::Environment(format!("{name}={value}")));
        }
        refuse_nul("environment entry", &name)?;
        refuse_nul("environment entry", &value)?;
        match environment.iter_mut().find(|(present, _)| *present == name) {
            Some(entry) => entry.1 = value,
            None => environment.push((name, value)),
        }
    }
    Ok(environment)
}

fn refuse_nul(setting: &'static str, value: &str) -> Result<(), SettingsError> {
    if value.contains('\0') { Err(SettingsError::Nul { setting, value: value.to_owned() }) } else { Ok(()) }
}

fn absolute(setting: &'static str, path: &str) -> Result<String, SettingsError> {
    refuse_nul(setting, path)?;
    if path.starts_with('/') && path.split('/').all(|part| part != "..") {
        Ok(path.to_owned())
    } else {
        Err(SettingsError::Path { setting, path: path.to_owned() })
    }
}

fn parse_port(text: &str) -> Result<Port, SettingsError> {
    let refused = || SettingsError::Port(text.to_owned());
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(refused)?;
    if !["tcp", "udp", "sctp"].contains(&protocol) {
        return Err(refused());
    }
    Ok(Port { number, protocol: protocol.to_owned() })
}

/// `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`, `SIGRTMAX-1`.
fn parse_signal(text: &str) -> Result<u8, SettingsError> {
    let refused = || SettingsError::StopSignal(text.to_owned());
    if let Ok(number) = text.parse::<u8>() {
        let known = (1..=31).contains(&number) || REAL_TIME.contains(&number);
        return if known { Ok(number) } else { Err(refused()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str, sign: char| match rest.strip_prefix(sign) {
        Some(number) => number.parse::<u8>().ok(),
        None => rest.is_empty().then_some(0),
    };
    let real_time = if let Some(rest) = name.strip_prefix("RTMIN") {
        offset(rest, '+').and_then(|offset| REAL_TIME.start().checked_add(offset))
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        offset(rest, '-').and_then(|offset| REAL_TIME.end().checked_sub(offset))
    } else {
        (1u8..).zip(SIGNALS).find(|(_, known)| *known == name).map(|(number, _)| number)
    };
    real_time.filter(|number| (1..=31).contains(number) || REAL_TIME.contains(number)).ok_or_else(refused)
}

#[cfg(test)]
#[path = "runtime_tests.rs"]
mod tests;
