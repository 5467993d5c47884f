//! JSON objects as Go decodes them into structures: names of members match without regard to case.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use serde_json::Value;

use crate::limits::MAX_VALUE_BYTES;

/// A JSON object with its members' names in lower case; of members whose names are equal then, the last one.
#[derive(Debug)]
pub(crate) struct Object {
    members: BTreeMap<String, Value>,
    /// Names of the objects that contain it, with a dot after each: `Backend.`.
    path: &'static str,
}

/// A text that is no object of the required form.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs)]
pub enum ObjectError {
    #[error("invalid JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{MAX_VALUE_BYTES} bytes are the limit, the value has {0}")]
    TooLong(usize),
    #[error("a JSON object is required, this is {0}")]
    NoObject(&'static str),
    #[error("{member}: {cause}")]
    Member { member: String, cause: String },
}

impl Object {
    /// Parses the value of a key.
    pub(crate) fn parse(text: &str) -> Result<Object, ObjectError> {
        if text.len() > MAX_VALUE_BYTES {
            return Err(ObjectError::TooLong(text.len()));
        }
        Object::new(serde_json::from_str(text)?, "")
    }

    pub(crate) fn new(value: Value, path: &'static str) -> Result<Object, ObjectError> {
        match value {
            Value::Object(map) => {
                let members = map.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
                Ok(Object { members, path })
            }
            // Go leaves a structure as it is for `null`.
            Value::Null => Ok(Object { members: BTreeMap::new(), path }),
            other => Err(ObjectError::NoObject(kind(&other))),
        }
    }

    /// A member; `null` counts as absent, as in Go.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.members.get(&name.to_lowercase()).filter(|value| !value.is_null())
    }

    /// An integer from 0 to `max`.
    pub(crate) fn integer(&self, name: &str, max: u32) -> Result<Option<u32>, ObjectError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let number =
            value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number <= max);
        number
            .map(Some)
            .ok_or_else(|| self.error(name, format!("an integer from 0 to {max} is required, found {value}")))
    }

    /// A port, or none for 0.
    pub(crate) fn port(&self, name: &str) -> Result<Option<u16>, ObjectError> {
        let number = self.integer(name, u16::MAX.into())?;
        Ok(number.and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0))
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, ObjectError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let boolean = value.as_bool();
        boolean.map(Some).ok_or_else(|| self.error(name, format!("true or false is required, found {value}")))
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ObjectError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let text = value.as_str();
        text.map(Some).ok_or_else(|| self.error(name, format!("a string is required, found {value}")))
    }

    /// A string that `T` parses; `form` names a right one.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(
        &self,
        name: &str,
        form: &str,
    ) -> Result<Option<T>, ObjectError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let parsed = text.parse();
        parsed.map(Some).map_err(|error| self.error(name, format!("`{text}`: {error}; {form} is required")))
    }

    /// The error of a member.
    pub(crate) fn error(&self, name: &str, cause: String) -> ObjectError {
        ObjectError::Member { member: format!("{}{name}", self.path), cause }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
