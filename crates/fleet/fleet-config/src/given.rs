//! What was given, by file and environment, each value with its place. A variable beats the file.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use crate::facts::{Facts, File};
use crate::ini::{self, Problem};
use crate::key::{KEYS, Key, find};
use crate::limits::FILE_BYTES;
use crate::value::ValueError;

/// Where a value stands.
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
pub enum GivenError {
    /// The text is the contract's.
    #[error("Unable to use config file {path}: {reason}")]
    File { path: String, reason: String },
    #[error("{path}:{line}: {problem}")]
    Line { path: String, line: usize, problem: Problem },
    #[error("{source_of}: {problem}")]
    Value { source_of: Source, problem: ValueError },
}

#[derive(Debug, Default)]
pub struct Given {
    values: BTreeMap<&'static str, (Source, String)>,
    /// For the log.
    pub warnings: Vec<String>,
}

impl Given {
    /// `named` says that the file was asked for: then it must be there.
    pub fn read(facts: &Facts, path: &str, named: bool) -> Result<Self, GivenError> {
        let mut given = Self::default();
        given.take_file(&facts.file, path, named)?;
        given.take_environment(&facts.environment);
        Ok(given)
    }

    fn take_file(&mut self, file: &File, path: &str, named: bool) -> Result<(), GivenError> {
        let unusable = |reason: String| GivenError::File { path: path.to_owned(), reason };
        let text = match file {
            File::Text(text) => text,
            File::Missing if named => {
                return Err(unusable(format!("stat {path}: no such file or directory")));
            }
            File::Missing => return Ok(()),
            File::Unreadable(reason) => return Err(unusable(reason.clone())),
        };
        if text.len() > FILE_BYTES {
            return Err(unusable(format!("it is larger than {FILE_BYTES} bytes")));
        }
        let read = ini::read(text).map_err(|(line, problem)| GivenError::Line {
            path: path.to_owned(),
            line,
            problem,
        })?;
        for entry in read.entries {
            let Some(key) = find(entry.key) else {
                let hint = nearest(entry.key);
                let place = format!("{path}:{}", entry.line);
                self.warnings.push(format!("{place}: unknown key {:?} is ignored{hint}", entry.key));
                continue;
            };
            let source = Source::File { path: path.to_owned(), line: entry.line, key: key.name };
            self.set(key, source, entry.value);
        }
        if let Some(line) = read.section {
            let said = "is ignored: fleetd's file has no sections";
            self.warnings.push(format!("{path}:{line}: all from this section on {said}"));
        }
        Ok(())
    }

    fn take_environment(&mut self, environment: &BTreeMap<String, String>) {
        for key in &KEYS {
            let variable = key.variable();
            if let Some(value) = environment.get(&variable) {
                self.set(key, Source::Environment(variable), value);
            }
        }
        let ours = environment.keys().filter(|name| name.starts_with("FLEET_"));
        for variable in ours.filter(|name| !KEYS.iter().any(|key| key.variable() == **name)) {
            self.warnings.push(format!("unknown variable {variable} is ignored"));
        }
    }

    /// An empty value is none, and so leaves what was set before.
    fn set(&mut self, key: &'static Key, source: Source, value: &str) {
        if !value.trim().is_empty() {
            self.values.insert(key.name, (source, value.trim().to_owned()));
        }
    }

    /// What was given, else the default, as `read` reads it. An unset key without a default is an empty text.
    pub fn value<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Result<T, GivenError> {
        let (source, text) = match self.values.get(name) {
            Some((source, text)) => (source.clone(), text.as_str()),
            None => (Source::Default(name), find(name).map_or("", |key| key.default)),
        };
        read(text).map_err(|problem| GivenError::Value { source_of: source, problem })
    }

    /// `None` where nothing was given and there is no default.
    pub fn some<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Result<Option<T>, GivenError> {
        self.value(name, |text| if text.is_empty() { Ok(None) } else { read(text).map(Some) })
    }

    pub fn text(&self, name: &'static str) -> String {
        let given = self.values.get(name).map(|(_, text)| text.as_str());
        given.unwrap_or_else(|| find(name).map_or("", |key| key.default)).to_owned()
    }
}

/// `agent-ttl` is how cloud-config may write it, not how the file does.
fn nearest(name: &str) -> String {
    let plain = name.to_ascii_lowercase().replace('-', "_");
    find(&plain).map(|key| format!(": did you mean {}?", key.name)).unwrap_or_default()
}
