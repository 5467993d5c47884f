//! Parses arguments by the rules of Go's `flag` package.

use std::collections::BTreeMap;

use super::table::{FLAGS, Flag, ValueKind};

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// Printed on stderr, followed by the usage.
    #[error("{0}")]
    Flag(String),
    /// Printed on stdout, as the original does.
    #[error("{0}")]
    Value(String),
}

/// The parsed flags; the last occurrence wins.
#[derive(Debug, Default)]
pub(super) struct ParsedArgs {
    pub help: bool,
    values: BTreeMap<&'static str, String>,
}

impl ParsedArgs {
    /// A switch that is on.
    pub fn is_set(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| value == "true")
    }

    /// A switch that is on, or a non-empty text.
    pub fn is_present(&self, name: &str) -> bool {
        let is_switch = FLAGS.iter().any(|flag| flag.name == name && flag.value_kind == ValueKind::Switch);
        self.values.get(name).is_some_and(|value| if is_switch { value == "true" } else { !value.is_empty() })
    }

    /// Sets a flag unless the command line did.
    pub fn set_default(&mut self, name: &'static str, value: &str) {
        self.values.entry(name).or_insert_with(|| value.to_owned());
    }

    pub fn text(&self, name: &str) -> &str {
        let default = FLAGS.iter().find(|flag| flag.name == name).map(|flag| flag.value_kind);
        match (self.values.get(name), default) {
            (Some(value), _) => value,
            (None, Some(ValueKind::Text { default })) => default,
            (None, _) => "",
        }
    }
}

pub(super) fn parse(arguments: &[String]) -> Result<ParsedArgs, UsageError> {
    let mut parsed = ParsedArgs::default();
    let mut remaining = arguments.iter();
    while let Some(argument) = remaining.next() {
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
                parsed.help = true;
                return Ok(parsed);
            }
            return Err(UsageError::Flag(format!("flag provided but not defined: -{name}")));
        };
        let value = match flag.value_kind {
            ValueKind::Switch => boolean(flag, value.as_deref())?.to_string(),
            ValueKind::Text { .. } => match value.or_else(|| remaining.next().cloned()) {
                Some(value) => value,
                None => return Err(UsageError::Flag(format!("flag needs an argument: -{name}"))),
            },
        };
        parsed.values.insert(flag.name, value);
    }
    Ok(parsed)
}

fn boolean(flag: &Flag, value: Option<&str>) -> Result<bool, UsageError> {
    let Some(value) = value else { return Ok(true) };
    let error =
        || UsageError::Flag(format!("invalid boolean value {value:?} for -{}: parse error", flag.name));
    go_compat::parse_bool(value).ok_or_else(error)
}
