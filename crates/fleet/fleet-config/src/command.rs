//! Maps arguments, file and environment to the command to run, or an error.

use std::path::PathBuf;

use crate::arguments::{self, ArgumentError, Invocation};
use crate::config::{self, Config};
use crate::facts::Facts;
use crate::help;
use crate::raw_config::RawConfig;
use crate::version::VERSION;

/// Path of the configuration file without `-config`. It may be missing.
const DEFAULT_FILE: &str = "/etc/fleet/fleet.conf";

/// Exit code of Go's `flag` for unknown flags.
const EXIT_USAGE: u8 = 2;
const EXIT_FAILED: u8 = 1;

/// What fleetd is started for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Print to standard output and exit with 0.
    Print(String),
    /// Stop the units that other machines may take over while fleetd is not running.
    Fence,
    /// Run the daemon.
    Run {
        /// Validated.
        config: Box<Config>,
        /// To be logged.
        warnings: Vec<String>,
    },
}

/// A message for standard error, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupError {
    /// As the exit code of fleet.
    pub exit: u8,
    /// With a trailing newline.
    pub text: String,
}

/// Path of the configuration file whose contents [`read`] needs; `None` if it needs none. Also the file to read on a
/// reload.
pub fn config_path(args: &[String]) -> Option<PathBuf> {
    match arguments::read(args) {
        Ok(Invocation::Run(path)) => Some(path.unwrap_or_else(|| DEFAULT_FILE.to_owned()).into()),
        Ok(Invocation::Help | Invocation::Version | Invocation::Fence) | Err(_) => None,
    }
}

/// Parses all inputs.
pub fn read(facts: &Facts) -> Result<Command, StartupError> {
    let explicit_path = match arguments::read(&facts.args).map_err(|error| usage_error(&error))? {
        Invocation::Help => return Ok(Command::Print(help::text())),
        Invocation::Version => return Ok(Command::Print(format!("fleetd version {VERSION}\n"))),
        // Uses the state that the last fleetd has written; needs no configuration.
        Invocation::Fence => return Ok(Command::Fence),
        Invocation::Run(path) => path,
    };
    let path = explicit_path.as_deref().unwrap_or(DEFAULT_FILE);
    let checked = RawConfig::read(facts, path, explicit_path.is_some()).and_then(|mut raw| {
        let config = config::check(&mut raw)?;
        Ok(Command::Run { config: Box::new(config), warnings: raw.warnings })
    });
    checked.map_err(|error| StartupError { exit: EXIT_FAILED, text: format!("{error}\n") })
}

fn usage_error(error: &ArgumentError) -> StartupError {
    let exit = if *error == ArgumentError::Word { EXIT_FAILED } else { EXIT_USAGE };
    StartupError { exit, text: format!("{error}\n{}", help::USAGE) }
}
