//! JSON as the original reads and writes it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The part after `unable to decode body: `.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(#[from] serde_json::Error);

/// Every key of a request, in its exact spelling.
const KEYS: [&str; 16] = [
    "cordon",
    "currentState",
    "desiredState",
    "dryRun",
    "error",
    "machineID",
    "name",
    "op",
    "options",
    "path",
    "replace",
    "schedulingMessage",
    "section",
    "units",
    "value",
    "values",
];

/// Decodes a request body. Keys are case-insensitive, as in Go; unknown ones are ignored.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    let value: Value = serde_json::from_slice(body)?;
    Ok(serde_json::from_value(normalize_keys(value))?)
}

fn normalize_keys(value: Value) -> Value {
    match value {
        Value::Array(list) => Value::Array(list.into_iter().map(normalize_keys).collect()),
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| {
                    let known = KEYS.iter().find(|known| known.eq_ignore_ascii_case(&key));
                    (known.map_or(key.clone(), |known| (*known).to_owned()), normalize_keys(value))
                })
                .collect(),
        ),
        other => other,
    }
}

/// Encodes a body, without a trailing newline.
pub fn encode<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    go_compat::to_string(value)
}
