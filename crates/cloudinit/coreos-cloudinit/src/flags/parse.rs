//! Arguments to raw flags, by the rules of Go's `flag` package.

use std::collections::BTreeMap;

use super::table::{FLAGS, Flag, Takes};

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// To be said on standard error, with the usage after it.
    #[error("{0}")]
    Flag(String),
    /// To be said on standard output, as it always was.
    #[error("{0}")]
    Value(String),
}

/// The flags that were given, the last of each.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub help: bool,
    given: BTreeMap<&'static str, String>,
}

impl Raw {
    /// A switch that is on.
    pub fn is_set(&self, name: &str) -> bool {
        self.given.get(name).is_some_and(|value| value == "true")
    }

    /// A switch that is on, or a text that is not empty.
    pub fn is_given(&self, name: &str) -> bool {
        let is_switch = FLAGS.iter().any(|flag| flag.name == name && flag.takes == Takes::Nothing);
        self.given.get(name).is_some_and(|value| if is_switch { value == "true" } else { !value.is_empty() })
    }

    /// Gives a flag that was not given.
    pub fn preset(&mut self, name: &'static str, value: &str) {
        self.given.entry(name).or_insert_with(|| value.to_owned());
    }

    pub fn text(&self, name: &str) -> &str {
        let default = FLAGS.iter().find(|flag| flag.name == name).map(|flag| flag.takes);
        match (self.given.get(name), default) {
            (Some(value), _) => value,
            (None, Some(Takes::Text { default })) => default,
            (None, _) => "",
        }
    }
}

pub(super) fn parse(arguments: &[String]) -> Result<Raw, UsageError> {
    let mut raw = Raw::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(body) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else { break };
        if body.is_empty() {
            break;
        }
        if body.starts_with(['-', '=']) {
            return Err(UsageError::Flag(format!("bad flag syntax: {argument}")));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
            if matches!(name, "h" | "help") {
                raw.help = true;
                return Ok(raw);
            }
            return Err(UsageError::Flag(format!("flag provided but not defined: -{name}")));
        };
        let value = match flag.takes {
            Takes::Nothing => boolean(flag, value.as_deref())?.to_string(),
            Takes::Text { .. } => match value.or_else(|| rest.next().cloned()) {
                Some(value) => value,
                None => return Err(UsageError::Flag(format!("flag needs an argument: -{name}"))),
            },
        };
        raw.given.insert(flag.name, value);
    }
    Ok(raw)
}

fn boolean(flag: &Flag, value: Option<&str>) -> Result<bool, UsageError> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(value) => {
            Err(UsageError::Flag(format!("invalid boolean value {value:?} for -{}: parse error", flag.name)))
        }
    }
}
