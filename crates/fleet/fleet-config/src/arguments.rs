//! The command line, in the syntax of Go's flags: `-x v`, `--x v`, `-x=v`, `--x=v`.

use thiserror::Error;

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
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    #[error("flag needs an argument: -config")]
    NoPath,
    #[error("invalid boolean value {value:?} for -{name}: parse error")]
    Switch { name: String, value: String },
}

/// Parses flags up to the first positional argument. Help takes precedence over errors that follow it.
pub fn read(args: &[String]) -> Result<Invocation, ArgumentError> {
    let (mut file, mut version) = (None, false);
    let mut rest = args.iter();
    while let Some(argument) = rest.next() {
        let Some(flag) = flag_body(argument)? else {
            let positional: Vec<&str> = match argument.as_str() {
                "--" => rest.map(String::as_str).collect(),
                _ => std::iter::once(argument).chain(rest).map(String::as_str).collect(),
            };
            match positional[..] {
                [] => break,
                ["version"] => return Ok(Invocation::Version),
                ["help"] => return Ok(Invocation::Help),
                ["fence"] => return Ok(Invocation::Fence),
                _ => return Err(ArgumentError::Word),
            }
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        match (name, value) {
            ("config", Some(path)) => file = Some(path.to_owned()),
            ("config", None) => file = Some(rest.next().ok_or(ArgumentError::NoPath)?.clone()),
            ("version", value) => version = switch(name, value)?,
            ("help" | "h", value) => {
                if switch(name, value)? {
                    return Ok(Invocation::Help);
                }
            }
            (other, _) => return Err(ArgumentError::Unknown(other.to_owned())),
        }
    }
    // An empty path counts as unset.
    let file = file.filter(|path| !path.is_empty());
    Ok(if version { Invocation::Version } else { Invocation::Run(file) })
}

/// The text after the dashes; `None` for a positional argument.
fn flag_body(argument: &str) -> Result<Option<&str>, ArgumentError> {
    let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
        return Ok(None);
    };
    if flag.starts_with(['-', '=']) {
        return Err(ArgumentError::Syntax(argument.to_owned()));
    }
    // `-` and `--` alone are positional.
    Ok((!flag.is_empty()).then_some(flag))
}

fn switch(name: &str, value: Option<&str>) -> Result<bool, ArgumentError> {
    let Some(value) = value else { return Ok(true) };
    crate::value::switch(value)
        .map_err(|_| ArgumentError::Switch { name: name.to_owned(), value: value.to_owned() })
}
