//! `-config-file` of 3.x: YAML with the flags' names as keys.
//!
//! As in etcd, flags and variables are ignored if there is a file; a warning says so.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::facts::Facts;
use crate::flag::value::{self, ValueError};
use crate::flag::{Status, table};
use crate::limits::MAX_FILE_BYTES;
use crate::raw_config::{RawConfig, Source};

/// Sections with TLS settings: their keys, and the prefix of the flags' names.
const SECTIONS: [(&str, &str); 2] = [("client-transport-security", ""), ("peer-transport-security", "peer-")];

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigFileError {
    #[error("cannot read config file {path}: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("config file {path} is larger than {MAX_FILE_BYTES} bytes")]
    TooLong { path: PathBuf },
    #[error("config file {path} is not a YAML mapping: {reason}")]
    NotYaml { path: PathBuf, reason: String },
    #[error("config file {path}: unknown key {key:?}")]
    UnknownKey { path: PathBuf, key: String },
    #[error("config file {path}: invalid value for {key:?}: {reason}")]
    Value { path: PathBuf, key: String, reason: ValueError },
    #[error("config file {path}: {key:?} must be a plain value")]
    NotPlain { path: PathBuf, key: String },
}

/// Returns the file's configuration, or `raw` if no file is set.
pub fn apply(raw: &RawConfig, facts: &Facts) -> Result<RawConfig, ConfigFileError> {
    let Some(path) = raw.text("config-file").map(PathBuf::from) else { return Ok(raw.clone()) };
    let unreadable =
        |reason: &str| ConfigFileError::Unreadable { path: path.clone(), reason: reason.to_owned() };
    let text = match facts.files.get(&path) {
        Some(Ok(text)) => text,
        Some(Err(reason)) => return Err(unreadable(reason)),
        None => return Err(unreadable("it was not read")),
    };
    if text.len() > MAX_FILE_BYTES {
        return Err(ConfigFileError::TooLong { path });
    }
    let mut config = RawConfig::default();
    for (name, source) in raw.sources().filter(|(name, _)| *name != "config-file") {
        // Command-line-only flags are not settings.
        if let Some(flag) = table::find(name).filter(|flag| flag.status == Status::CommandLineOnly) {
            config.set(flag, crate::flag::Value::Switch(raw.switch(name)), source.clone());
        } else {
            config.warnings.push(format!("-{name} is ignored: -config-file stands alone"));
        }
    }
    mapping(&path, text, &mut config)?;
    Ok(config)
}

fn mapping(path: &Path, text: &str, config: &mut RawConfig) -> Result<(), ConfigFileError> {
    let not_yaml = |reason: String| ConfigFileError::NotYaml { path: path.to_owned(), reason };
    let document: serde_yaml::Value =
        serde_yaml::from_str(text).map_err(|error| not_yaml(error.to_string()))?;
    let serde_yaml::Value::Mapping(entries) = document else {
        return Err(not_yaml("expected `key: value` lines".to_owned()));
    };
    for (key, value) in &entries {
        let key = key.as_str().ok_or_else(|| not_yaml("a key is not a text".to_owned()))?;
        match (SECTIONS.iter().find(|(name, _)| *name == key), value) {
            (Some((_, prefix)), serde_yaml::Value::Mapping(inner)) => {
                for (inner_key, value) in inner {
                    let name =
                        inner_key.as_str().ok_or_else(|| not_yaml("a key is not a text".to_owned()))?;
                    setting(path, &format!("{prefix}{name}"), value, config)?;
                }
            }
            _ => setting(path, key, value, config)?,
        }
    }
    Ok(())
}

fn setting(
    path: &Path,
    key: &str,
    value: &serde_yaml::Value,
    config: &mut RawConfig,
) -> Result<(), ConfigFileError> {
    let path = path.to_owned();
    let known = table::find(key).filter(|flag| flag.status != Status::CommandLineOnly);
    let Some(flag) = known.filter(|flag| flag.name != "config-file") else {
        return Err(ConfigFileError::UnknownKey { path, key: key.to_owned() });
    };
    let text = match value {
        serde_yaml::Value::Null => return Ok(()),
        serde_yaml::Value::Bool(switch) => switch.to_string(),
        serde_yaml::Value::Number(number) => number.to_string(),
        serde_yaml::Value::String(text) => text.clone(),
        // `log-outputs: [stderr]`
        serde_yaml::Value::Sequence(_) if flag.status == Status::NoEffect => String::new(),
        _ => return Err(ConfigFileError::NotPlain { path, key: key.to_owned() }),
    };
    if text.is_empty() {
        return Ok(());
    }
    let value = value::parse(flag.kind, &text).map_err(|reason| ConfigFileError::Value {
        path,
        key: key.to_owned(),
        reason,
    })?;
    config.set(flag, value, Source::File);
    Ok(())
}
