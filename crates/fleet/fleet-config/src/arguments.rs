//! The command line, as Go's flags are read: `-x v`, `--x v`, `-x=v`, `--x=v`.

use thiserror::Error;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Help,
    Version,
    /// An addition to the original's.
    Fence,
    /// With the file that was named, if any was.
    Run(Option<String>),
}

/// The texts are the contract's, or Go's.
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

/// Reads the words up to the first that is no flag; help comes before what is wrong after it.
pub fn read(args: &[String]) -> Result<Asked, ArgumentError> {
    let (mut file, mut version) = (None, false);
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        let Some(body) = flag(word)? else {
            let words: Vec<&str> = match word.as_str() {
                "--" => rest.map(String::as_str).collect(),
                _ => std::iter::once(word).chain(rest).map(String::as_str).collect(),
            };
            match words[..] {
                [] => break,
                ["version"] => return Ok(Asked::Version),
                ["help"] => return Ok(Asked::Help),
                ["fence"] => return Ok(Asked::Fence),
                _ => return Err(ArgumentError::Word),
            }
        };
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        match (name, value) {
            ("config", Some(path)) => file = Some(path.to_owned()),
            ("config", None) => file = Some(rest.next().ok_or(ArgumentError::NoPath)?.clone()),
            ("version", value) => version = switch(name, value)?,
            ("help" | "h", value) => {
                if switch(name, value)? {
                    return Ok(Asked::Help);
                }
            }
            (other, _) => return Err(ArgumentError::Unknown(other.to_owned())),
        }
    }
    // An empty path names no file.
    let file = file.filter(|path| !path.is_empty());
    Ok(if version { Asked::Version } else { Asked::Run(file) })
}

/// What stands behind the dashes; `None` for a word that is no flag.
fn flag(word: &str) -> Result<Option<&str>, ArgumentError> {
    let Some(body) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { return Ok(None) };
    if body.starts_with(['-', '=']) {
        return Err(ArgumentError::Syntax(word.to_owned()));
    }
    // `-` and `--` alone are words.
    Ok((!body.is_empty()).then_some(body))
}

fn switch(name: &str, value: Option<&str>) -> Result<bool, ArgumentError> {
    let Some(value) = value else { return Ok(true) };
    crate::value::switch(value)
        .map_err(|_| ArgumentError::Switch { name: name.to_owned(), value: value.to_owned() })
}
