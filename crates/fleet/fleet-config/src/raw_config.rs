//! Raw values of the file and the environment with their sources. Variables override the file.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use crate::facts::{Facts, File};
use crate::ini::{self, Problem};
use crate::key::{KEYS, Key, find};
use crate::limits::MAX_FILE_BYTES;
use crate::value::ValueError;

/// The source of a value, for error messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    File { path: String, line: usize, key: &'static str },
    Environment(String),
    Default(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, key } => write!(f, "{path}:{line}: {key}"),
            Self::Environment(variable) => f.write_str(variable),
            Self::Default(key) => write!(f, "default of {key}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The message is that of the contract.
    #[error("Unable to use config file {path}: {reason}")]
    File { path: String, reason: String },
    #[error("{path}:{line}: {problem}")]
    Line { path: String, line: usize, problem: Problem },
    #[error("{source_of}: {problem}")]
    Value { source_of: Source, problem: ValueError },
}

#[derive(Debug, Default)]
pub struct RawConfig {
    values: BTreeMap<&'static str, (Source, String)>,
    /// To be logged.
    pub warnings: Vec<String>,
}

impl RawConfig {
    /// A missing file is an error only if it is `required`.
    pub fn read(facts: &Facts, path: &str, required: bool) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        config.read_file(&facts.file, path, required)?;
        config.read_environment(&facts.environment);
        Ok(config)
    }

    fn read_file(&mut self, file: &File, path: &str, required: bool) -> Result<(), ConfigError> {
        let unusable = |reason: String| ConfigError::File { path: path.to_owned(), reason };
        let text = match file {
            File::Text(text) => text,
            File::Missing if required => {
                return Err(unusable(format!("stat {path}: no such file or directory")));
            }
            File::Missing => return Ok(()),
            File::Unreadable(reason) => return Err(unusable(reason.clone())),
        };
        if text.len() > MAX_FILE_BYTES {
            return Err(unusable(format!("it is larger than {MAX_FILE_BYTES} bytes")));
        }
        let file = ini::parse(text).map_err(|(line, problem)| ConfigError::Line {
            path: path.to_owned(),
            line,
            problem,
        })?;
        for entry in file.entries {
            let Some(key) = find(entry.key) else {
                let hint = suggestion(entry.key);
                let place = format!("{path}:{}", entry.line);
                self.warnings.push(format!("{place}: unknown key {:?} is ignored{hint}", entry.key));
                continue;
            };
            let source = Source::File { path: path.to_owned(), line: entry.line, key: key.name };
            self.set(key, source, entry.value);
        }
        if let Some(line) = file.section {
            let message = "is ignored: fleetd's file has no sections";
            self.warnings.push(format!("{path}:{line}: all from this section on {message}"));
        }
        Ok(())
    }

    fn read_environment(&mut self, environment: &BTreeMap<String, String>) {
        for key in &KEYS {
            let variable = key.variable();
            if let Some(value) = environment.get(&variable) {
                self.set(key, Source::Environment(variable), value);
            }
        }
        let fleet_variables = environment.keys().filter(|name| name.starts_with("FLEET_"));
        for variable in fleet_variables.filter(|name| !KEYS.iter().any(|key| key.variable() == **name)) {
            self.warnings.push(format!("unknown variable {variable} is ignored"));
        }
    }

    /// Empty values do not override earlier ones.
    fn set(&mut self, key: &'static Key, source: Source, value: &str) {
        if !value.trim().is_empty() {
            self.values.insert(key.name, (source, value.trim().to_owned()));
        }
    }

    /// Parses the value, else the default. An unset key without a default is empty.
    pub fn value<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Result<T, ConfigError> {
        let (source, text) = match self.values.get(name) {
            Some((source, text)) => (source.clone(), text.as_str()),
            None => (Source::Default(name), find(name).map_or("", |key| key.default)),
        };
        parse(text).map_err(|problem| ConfigError::Value { source_of: source, problem })
    }

    /// `None` if the key is unset and has no default.
    pub fn optional<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Result<Option<T>, ConfigError> {
        self.value(name, |text| if text.is_empty() { Ok(None) } else { parse(text).map(Some) })
    }

    pub fn text(&self, name: &'static str) -> String {
        let config = self.values.get(name).map(|(_, text)| text.as_str());
        config.unwrap_or_else(|| find(name).map_or("", |key| key.default)).to_owned()
    }
}

/// Suggests `agent_ttl` for `agent-ttl`, the notation of cloud-config.
fn suggestion(name: &str) -> String {
    let normalized = name.to_ascii_lowercase().replace('-', "_");
    find(&normalized).map(|key| format!(": did you mean {}?", key.name)).unwrap_or_default()
}
