//! The command line.

use command_line::{BadFlag, Flag, ValueKind, before_arguments_or_help};
use thiserror::Error;

/// `help` describes them.
const FLAGS: &[Flag] = &[Flag::new("config", ValueKind::File, ""), Flag::switch("version", "")];

/// The parsed command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    Help,
    Version,
    /// Not in the original.
    Fence,
    /// With the value of `-config`, if set.
    Run(Option<String>),
}

/// The messages are those of the contract and of Go's `flag`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArgumentError {
    #[error("fleetd takes no arguments. Did you mean to invoke fleetctl instead?")]
    Word,
    #[error("{0}")]
    Flag(String),
}

/// Parses flags up to the first positional argument. Help takes precedence over errors that follow it.
pub fn read(args: &[String]) -> Result<Invocation, ArgumentError> {
    let parsed = before_arguments_or_help(FLAGS, args).map_err(|BadFlag(text)| ArgumentError::Flag(text))?;
    if parsed.wants_help() {
        return Ok(Invocation::Help);
    }
    let positional: Vec<&str> = parsed.arguments.iter().map(String::as_str).collect();
    match positional[..] {
        [] if parsed.is_set("version") => Ok(Invocation::Version),
        [] => {
            // An empty path counts as unset.
            let file = parsed.text("config").filter(|path| !path.is_empty());
            Ok(Invocation::Run(file.map(str::to_owned)))
        }
        ["version"] => Ok(Invocation::Version),
        ["help"] => Ok(Invocation::Help),
        ["fence"] => Ok(Invocation::Fence),
        _ => Err(ArgumentError::Word),
    }
}
