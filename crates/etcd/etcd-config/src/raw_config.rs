//! The values of flags, variables and files, each parsed by its flag's kind.
//!
//! A flag overrides a variable; an empty variable is ignored. `check` validates the values in combination.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::facts::Facts;
use crate::flag::syntax::{self, SyntaxError};
use crate::flag::value::{self, ValueError};
use crate::flag::{Address, Flag, Group, Status, Value, table};
use crate::url::Url;

/// 0.4's and cloud-config's name of `ETCD_SNAPSHOT_COUNT`.
const SNAPSHOT_COUNT_VARIABLE: &str = "ETCD_SNAPSHOTCOUNT";

#[derive(Debug, Clone)]
pub struct RawValue {
    pub value: Value,
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    CommandLine,
    Environment(String),
    File,
}

/// All values, by flag name.
#[derive(Debug, Clone, Default)]
pub struct RawConfig {
    values: BTreeMap<&'static str, RawValue>,
    /// For the log; never contains values, since tokens and paths of keys may be secret.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RawConfigError {
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    #[error("'{0}' is not a valid flag")]
    UnexpectedArgument(String),
    #[error("invalid value {text:?} for {variable}: {reason}")]
    Environment { variable: String, text: String, reason: ValueError },
}

impl RawConfig {
    /// Parses the command line, then the environment. With `-help` the rest is ignored, as in Go.
    pub fn read(facts: &Facts) -> Result<Self, RawConfigError> {
        let mut raw = Self::default();
        let (flags, unexpected) = syntax::parse(&facts.arguments)?;
        for parsed in flags {
            // The last occurrence wins, as in Go.
            raw.warn_about(parsed.flag);
            raw.set(parsed.flag, parsed.value, Source::CommandLine);
        }
        if raw.switch("help") || raw.switch("h") {
            return Ok(raw);
        }
        if let Some(argument) = unexpected {
            return Err(RawConfigError::UnexpectedArgument(argument));
        }
        raw.read_environment(&facts.environment)?;
        Ok(raw)
    }

    fn read_environment(&mut self, environment: &BTreeMap<String, String>) -> Result<(), RawConfigError> {
        let ours = environment.iter().filter(|(name, text)| name.starts_with("ETCD_") && !text.is_empty());
        for (variable, text) in ours {
            let known = if variable == SNAPSHOT_COUNT_VARIABLE { "ETCD_SNAPSHOT_COUNT" } else { variable };
            let Some(flag) = table::find_by_environment(known) else {
                self.warnings.push(format!("unrecognized environment variable {variable}"));
                continue;
            };
            if self.values.contains_key(flag.name) {
                self.warnings.push(format!(
                    "recognized environment variable {variable}, but unused: shadowed by corresponding flag"
                ));
                continue;
            }
            let value = value::parse(flag.kind, text).map_err(|reason| RawConfigError::Environment {
                variable: variable.clone(),
                text: text.clone(),
                reason,
            })?;
            self.warn_about(flag);
            self.set(flag, value, Source::Environment(variable.clone()));
        }
        Ok(())
    }

    /// Warns about 0.4's flags without effect; 3.x's are ignored silently.
    fn warn_about(&mut self, flag: &Flag) {
        let name = flag.name;
        match flag.status {
            Status::NoEffect if flag.group == Group::Etcd04 => {
                self.warnings.push(format!("flag \"-{name}\" is no longer supported - ignoring."));
            }
            Status::Deprecated(current) => {
                self.warnings.push(format!("flag \"-{name}\" is deprecated, use {current}"));
            }
            _ => {}
        }
    }

    pub(crate) fn set(&mut self, flag: &'static Flag, value: Value, source: Source) {
        if flag.status != Status::NoEffect {
            self.values.insert(flag.name, RawValue { value, source });
        }
    }

    /// Whether the flag is set. An empty text counts as unset.
    pub fn is_set(&self, name: &str) -> bool {
        match self.values.get(name).map(|raw| &raw.value) {
            Some(Value::Text(text)) => !text.is_empty(),
            Some(Value::Addresses(list)) => !list.is_empty(),
            Some(_) => true,
            None => false,
        }
    }

    /// The flag's value, or the table's default.
    fn value(&self, name: &str) -> Option<Value> {
        if self.is_set(name) {
            return self.values.get(name).map(|raw| raw.value.clone());
        }
        let flag = table::find(name)?;
        if flag.default.is_empty() { None } else { value::parse(flag.kind, flag.default).ok() }
    }

    pub fn switch(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Switch(true)))
    }

    pub fn text(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The flag's value, or its default; 0 if there is none.
    pub fn number(&self, name: &str) -> u64 {
        match self.value(name) {
            Some(Value::Number(number)) => number,
            _ => 0,
        }
    }

    /// The flag's value, or its default.
    pub fn urls(&self, name: &str) -> Vec<Url> {
        match self.value(name) {
            Some(Value::Urls(urls)) => urls,
            _ => Vec::new(),
        }
    }

    /// The table's default, whether or not the flag is set.
    pub fn urls_by_default(&self, name: &str) -> Vec<Url> {
        let flag = table::find(name).filter(|flag| !flag.default.is_empty());
        match flag.map(|flag| value::parse(flag.kind, flag.default)) {
            Some(Ok(Value::Urls(urls))) => urls,
            _ => Vec::new(),
        }
    }

    /// The flag's value, without default: 0.4's defaults are not used.
    pub fn address(&self, name: &str) -> Option<&Address> {
        match self.values.get(name).map(|raw| &raw.value) {
            Some(Value::Address(address)) => Some(address),
            _ => None,
        }
    }

    pub fn addresses(&self, name: &str) -> &[Address] {
        match self.values.get(name).map(|raw| &raw.value) {
            Some(Value::Addresses(list)) => list,
            _ => &[],
        }
    }

    /// The set flags and their sources, for `-dry-run`.
    pub fn sources(&self) -> impl Iterator<Item = (&'static str, &Source)> {
        self.values.iter().map(|(name, raw)| (*name, &raw.source))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.values.keys().copied()
    }
}
