//! `-config-file` of 3.x: YAML whose keys are the flags' names.
//!
//! As in etcd, the file stands alone: flags and variables are ignored beside it, and that is said.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::facts::Facts;
use crate::flag::value::{self, ValueError};
use crate::flag::{Standing, table};
use crate::limits::MAX_FILE_BYTES;
use crate::low::{Low, Source};

/// Sections with TLS settings: their keys, and the flags they stand for, with this before the name.
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

/// `low` itself where no file is named, else what the file says.
pub fn apply(low: &Low, facts: &Facts) -> Result<Low, ConfigFileError> {
    let Some(path) = low.text("config-file").map(PathBuf::from) else { return Ok(low.clone()) };
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
    let mut read = Low::default();
    for (name, source) in low.sources().filter(|(name, _)| *name != "config-file") {
        // What the program answers at once is no setting.
        if let Some(flag) = table::find(name).filter(|flag| flag.standing == Standing::CommandLineOnly) {
            read.set(flag, crate::flag::Value::Switch(low.switch(name)), source.clone());
        } else {
            read.warnings.push(format!("-{name} is ignored: -config-file stands alone"));
        }
    }
    mapping(&path, text, &mut read)?;
    Ok(read)
}

fn mapping(path: &Path, text: &str, read: &mut Low) -> Result<(), ConfigFileError> {
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
                    one(path, &format!("{prefix}{name}"), value, read)?;
                }
            }
            _ => one(path, key, value, read)?,
        }
    }
    Ok(())
}

fn one(path: &Path, key: &str, value: &serde_yaml::Value, read: &mut Low) -> Result<(), ConfigFileError> {
    let path = path.to_owned();
    let known = table::find(key).filter(|flag| flag.standing != Standing::CommandLineOnly);
    let Some(flag) = known.filter(|flag| flag.name != "config-file") else {
        return Err(ConfigFileError::UnknownKey { path, key: key.to_owned() });
    };
    let text = match value {
        serde_yaml::Value::Null => return Ok(()),
        serde_yaml::Value::Bool(switch) => switch.to_string(),
        serde_yaml::Value::Number(number) => number.to_string(),
        serde_yaml::Value::String(text) => text.clone(),
        // `log-outputs: [stderr]`
        serde_yaml::Value::Sequence(_) if flag.standing == Standing::NoEffect => String::new(),
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
    read.set(flag, value, Source::File);
    Ok(())
}
