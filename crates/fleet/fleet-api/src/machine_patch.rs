//! `PATCH /machines`: changes of machine metadata.

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::json::{DecodeError, decode};

/// The `op` of a change. `Add` and `Replace` have the same effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchOperation {
    /// Sets the key.
    Add,
    /// Removes the key.
    Remove,
    /// Sets the key.
    Replace,
}

/// A validated change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachinePatch {
    /// What to do with `key`.
    pub operation: PatchOperation,
    /// The machine whose metadata changes; need not exist.
    pub machine_id: String,
    /// Letters, digits, `_`, `.` and `-`.
    pub key: String,
    /// Empty if the key is removed.
    pub value: String,
}

/// The texts are the contract's.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum PatchError {
    #[error("unable to decode body: {0}")]
    Decode(DecodeError),
    #[error("invalid op: expect add, remove, or replace")]
    Operation,
    #[error("machine metadata path invalid")]
    Path,
    #[error("invalid value: add and replace require a value")]
    Value,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    op: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    value: Value,
}

/// All changes of a body, or the first error: then none may be applied.
pub fn parse_patches(body: &[u8]) -> Result<Vec<MachinePatch>, PatchError> {
    let raw: Vec<Raw> = decode(body).map_err(PatchError::Decode)?;
    raw.iter().map(checked).collect()
}

fn checked(raw: &Raw) -> Result<MachinePatch, PatchError> {
    let operation = match raw.op.as_str() {
        "add" => PatchOperation::Add,
        "remove" => PatchOperation::Remove,
        "replace" => PatchOperation::Replace,
        _ => return Err(PatchError::Operation),
    };
    let (machine_id, key) = parse_path(&raw.path).ok_or(PatchError::Path)?;
    // The original's code expects an object, its documentation a string.
    let raw_value = match &raw.value {
        Value::Object(map) => map.get("value").unwrap_or(&Value::Null),
        other => other,
    };
    let value = raw_value.as_str().unwrap_or_default();
    if operation != PatchOperation::Remove && value.is_empty() {
        return Err(PatchError::Value);
    }
    let value = if operation == PatchOperation::Remove { "" } else { value };
    Ok(MachinePatch {
        operation,
        machine_id: machine_id.to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

/// `/ID/metadata/KEY`
fn parse_path(path: &str) -> Option<(&str, &str)> {
    let (id, key) = path.strip_prefix('/')?.split_once("/metadata/")?;
    let is_valid = |text: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        // The store treats `.` and `..` as directories.
        !matches!(text, "" | "." | "..") && text.chars().all(allowed)
    };
    (is_valid(id) && is_valid(key)).then_some((id, key))
}
