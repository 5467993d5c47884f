//! The whole way: arguments, file, environment -> what to do, or why not.

use std::path::PathBuf;

use crate::arguments::{self, ArgumentError, Asked};
use crate::config::{self, Config};
use crate::facts::Facts;
use crate::given::Given;
use crate::help;
use crate::version::VERSION;

/// Where the file is when no flag says so; there it may be missing.
const DEFAULT_FILE: &str = "/etc/fleet/fleet.conf";

/// Flags that nobody knows, as Go's programs end.
const EXIT_FLAGS: u8 = 2;
const EXIT_FAILED: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// To stdout, exit 0.
    Print(String),
    /// Stop the units that other machines may take over, where fleetd does not run.
    Fence,
    Run {
        config: Box<Config>,
        /// For the log.
        warnings: Vec<String>,
    },
}

/// To stderr, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub exit: u8,
    pub text: String,
}

/// The file whose content must be among the facts; `None` where [`read`] needs none. It is also what is read again
/// when fleetd is told to.
pub fn file_wanted(args: &[String]) -> Option<PathBuf> {
    match arguments::read(args) {
        Ok(Asked::Run(named)) => Some(named.unwrap_or_else(|| DEFAULT_FILE.to_owned()).into()),
        Ok(Asked::Help | Asked::Version | Asked::Fence) | Err(_) => None,
    }
}

/// What is to be done.
pub fn read(facts: &Facts) -> Result<Task, Refusal> {
    let named = match arguments::read(&facts.args).map_err(|error| misused(&error))? {
        Asked::Help => return Ok(Task::Print(help::text())),
        Asked::Version => return Ok(Task::Print(format!("fleetd version {VERSION}\n"))),
        // From what the last fleetd left behind: it works without any file.
        Asked::Fence => return Ok(Task::Fence),
        Asked::Run(named) => named,
    };
    let path = named.as_deref().unwrap_or(DEFAULT_FILE);
    let checked = Given::read(facts, path, named.is_some()).and_then(|mut given| {
        let config = config::check(&mut given)?;
        Ok(Task::Run { config: Box::new(config), warnings: given.warnings })
    });
    checked.map_err(|error| Refusal { exit: EXIT_FAILED, text: format!("{error}\n") })
}

fn misused(error: &ArgumentError) -> Refusal {
    let exit = if *error == ArgumentError::Word { EXIT_FAILED } else { EXIT_FLAGS };
    Refusal { exit, text: format!("{error}\n{}", help::USAGE) }
}
