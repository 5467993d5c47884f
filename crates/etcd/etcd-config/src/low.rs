//! The "low" side: what was given, by flag, variable or file, each value in the form its flag asks for.
//!
//! A flag beats a variable; an empty variable is none. What values mean together is for `check`.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::facts::Facts;
use crate::flag::syntax::{self, SyntaxError};
use crate::flag::value::{self, ValueError};
use crate::flag::{Address, Flag, Group, Standing, Value, table};
use crate::url::Url;

/// 0.4 and cloud-config write this one without its second `_`.
const SNAPSHOT_COUNT_VARIABLE: &str = "ETCD_SNAPSHOTCOUNT";

#[derive(Debug, Clone)]
pub struct Given {
    pub value: Value,
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    CommandLine,
    Environment(String),
    File,
}

/// Everything that was given, by the flag's name.
#[derive(Debug, Clone, Default)]
pub struct Low {
    given: BTreeMap<&'static str, Given>,
    /// For the log; never a value, since tokens and paths of keys may be secret.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LowError {
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    #[error("'{0}' is not a valid flag")]
    LeftOver(String),
    #[error("invalid value {text:?} for {variable}: {reason}")]
    Environment { variable: String, text: String, reason: ValueError },
}

impl Low {
    /// Reads command line, then environment. With `-help` the rest is not looked at, as Go's programs do.
    pub fn read(facts: &Facts) -> Result<Self, LowError> {
        let mut low = Self::default();
        let (seen, left_over) = syntax::parse(&facts.arguments)?;
        for one in seen {
            // The last one wins, as in Go.
            low.warn_about(one.flag);
            low.set(one.flag, one.value, Source::CommandLine);
        }
        if low.switch("help") || low.switch("h") {
            return Ok(low);
        }
        if let Some(word) = left_over {
            return Err(LowError::LeftOver(word));
        }
        low.read_environment(&facts.environment)?;
        Ok(low)
    }

    fn read_environment(&mut self, environment: &BTreeMap<String, String>) -> Result<(), LowError> {
        let ours = environment.iter().filter(|(name, text)| name.starts_with("ETCD_") && !text.is_empty());
        for (variable, text) in ours {
            let known = if variable == SNAPSHOT_COUNT_VARIABLE { "ETCD_SNAPSHOT_COUNT" } else { variable };
            let Some(flag) = table::find_by_environment(known) else {
                self.warnings.push(format!("unrecognized environment variable {variable}"));
                continue;
            };
            if self.given.contains_key(flag.name) {
                self.warnings.push(format!(
                    "recognized environment variable {variable}, but unused: shadowed by corresponding flag"
                ));
                continue;
            }
            let value = value::parse(flag.kind, text).map_err(|reason| LowError::Environment {
                variable: variable.clone(),
                text: text.clone(),
                reason,
            })?;
            self.warn_about(flag);
            self.set(flag, value, Source::Environment(variable.clone()));
        }
        Ok(())
    }

    /// Without effect there is nothing to keep; 3.x's are silent, since their defaults do no harm.
    fn warn_about(&mut self, flag: &Flag) {
        let name = flag.name;
        match flag.standing {
            Standing::NoEffect if flag.group == Group::Classic => {
                self.warnings.push(format!("flag \"-{name}\" is no longer supported - ignoring."));
            }
            Standing::Deprecated(today) => {
                self.warnings.push(format!("flag \"-{name}\" is deprecated, use {today}"));
            }
            _ => {}
        }
    }

    pub(crate) fn set(&mut self, flag: &'static Flag, value: Value, source: Source) {
        if flag.standing != Standing::NoEffect {
            self.given.insert(flag.name, Given { value, source });
        }
    }

    /// Was it given at all? An empty text counts as not given.
    pub fn is_set(&self, name: &str) -> bool {
        match self.given.get(name).map(|given| &given.value) {
            Some(Value::Text(text)) => !text.is_empty(),
            Some(Value::Addresses(list)) => !list.is_empty(),
            Some(_) => true,
            None => false,
        }
    }

    /// What was given, else the table's default.
    fn value(&self, name: &str) -> Option<Value> {
        if self.is_set(name) {
            return self.given.get(name).map(|given| given.value.clone());
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

    /// The number given, or the default; 0 where a flag has neither.
    pub fn number(&self, name: &str) -> u64 {
        match self.value(name) {
            Some(Value::Number(number)) => number,
            _ => 0,
        }
    }

    /// The URLs given, or the default's.
    pub fn urls(&self, name: &str) -> Vec<Url> {
        match self.value(name) {
            Some(Value::Urls(urls)) => urls,
            _ => Vec::new(),
        }
    }

    /// The table's default, whatever was given.
    pub fn urls_by_default(&self, name: &str) -> Vec<Url> {
        let flag = table::find(name).filter(|flag| !flag.default.is_empty());
        match flag.map(|flag| value::parse(flag.kind, flag.default)) {
            Some(Ok(Value::Urls(urls))) => urls,
            _ => Vec::new(),
        }
    }

    /// Only what was given: the defaults of 0.4's addresses do not hold.
    pub fn address(&self, name: &str) -> Option<&Address> {
        match self.given.get(name).map(|given| &given.value) {
            Some(Value::Address(address)) => Some(address),
            _ => None,
        }
    }

    pub fn addresses(&self, name: &str) -> &[Address] {
        match self.given.get(name).map(|given| &given.value) {
            Some(Value::Addresses(list)) => list,
            _ => &[],
        }
    }

    /// Flags that were given, with where from: for `-dry-run`.
    pub fn sources(&self) -> impl Iterator<Item = (&'static str, &Source)> {
        self.given.iter().map(|(name, given)| (*name, &given.source))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.given.keys().copied()
    }
}
