//! Reads values from a provider's JSON document; malformed values are ignored and noted.

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde_json::Value;

use super::address::{self, InvalidAddress};
use super::error::Malformed;
use crate::limits::MAX_METADATA_NOTES;

/// Substitute for a value of another type, which is not a valid address.
const NOT_AN_ADDRESS: &str = "?";

/// A document. Paths have the form `interfaces.public.0.mac`.
#[derive(Debug, Clone)]
pub(super) struct JsonDocument {
    /// Name in messages.
    name: &'static str,
    root: Value,
    notes: Vec<String>,
}

impl JsonDocument {
    /// Parses a document. Empty input is treated as an empty object.
    ///
    /// # Errors
    /// The document is not valid JSON.
    pub fn read(name: &'static str, bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.trim_ascii().is_empty() {
            return Ok(Self { name, root: Value::Null, notes: Vec::new() });
        }
        let mut document = Self::parse(name, bytes)?;
        if !(document.root.is_object() || document.root.is_null()) {
            document.note(format!("ignoring {name}, which is no object"));
            document.root = Value::Null;
        }
        Ok(document)
    }

    /// Parses a required document.
    ///
    /// # Errors
    /// The document is not valid JSON, or not an object.
    pub fn read_required(name: &'static str, bytes: &[u8]) -> Result<Self, Malformed> {
        let document = Self::parse(name, bytes)?;
        if document.root.is_object() { Ok(document) } else { Err(Malformed::NotMapping.in_document(name)) }
    }

    fn parse(name: &'static str, bytes: &[u8]) -> Result<Self, Malformed> {
        let root = serde_json::from_slice(bytes).map_err(|error| Malformed::from(error).in_document(name))?;
        Ok(Self { name, root, notes: Vec::new() })
    }

    pub fn is_empty(&self) -> bool {
        self.root.as_object().is_none_or(serde_json::Map::is_empty)
    }

    pub fn into_parts(self) -> (Value, Vec<String>) {
        (self.root, self.notes)
    }

    pub fn ignore(&mut self, what: &str, expected: &str) {
        self.note(format!("ignoring {what} of {}, which is no {expected}", self.name));
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < MAX_METADATA_NOTES && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub fn text(&mut self, path: &str) -> Option<String> {
        let value = self.get(path)?;
        match value.as_str() {
            Some(text) => return Some(text.to_owned()),
            None => self.ignore(path, "text"),
        }
        None
    }

    /// Reads a string or a number, as text.
    pub fn text_or_number(&mut self, path: &str) -> Option<String> {
        match self.get(path)? {
            Value::String(text) => return Some(text.clone()),
            Value::Number(number) => return Some(number.to_string()),
            _ => self.ignore(path, "text or number"),
        }
        None
    }

    pub fn is_true(&mut self, path: &str) -> bool {
        match self.get(path) {
            None => return false,
            Some(Value::Bool(value)) => return *value,
            Some(_) => self.ignore(path, "boolean"),
        }
        false
    }

    /// Returns the length of a list; 0 if there is none.
    pub fn length(&mut self, path: &str) -> usize {
        match self.get(path) {
            None => return 0,
            Some(Value::Array(list)) => return list.len(),
            Some(_) => self.ignore(path, "list"),
        }
        0
    }

    /// Returns the keys of an object; empty if there is none.
    pub fn keys(&mut self, path: &str) -> Vec<String> {
        match self.get(path) {
            None => return Vec::new(),
            Some(Value::Object(members)) => return members.keys().cloned().collect(),
            Some(_) => self.ignore(path, "object"),
        }
        Vec::new()
    }

    pub fn member(&self, path: &str, name: &str) -> Option<&Value> {
        self.peek(path)?.get(name)
    }

    pub fn ipv4(&mut self, path: &str) -> Option<String> {
        self.address::<Ipv4Addr>(path, "IPv4 address")
    }

    pub fn ipv6(&mut self, path: &str) -> Option<String> {
        self.address::<Ipv6Addr>(path, "IPv6 address")
    }

    /// Parses an address; `None` if the text is empty.
    fn address<A: FromStr + Display>(&mut self, path: &str, expected: &str) -> Option<String> {
        match address::read::<A>(self.get(path)?.as_str().unwrap_or(NOT_AN_ADDRESS)) {
            Ok(address) => address.map(|address| address.to_string()),
            Err(InvalidAddress) => {
                self.ignore(path, expected);
                None
            }
        }
    }

    /// Returns `None` if the value is null or missing.
    fn get(&mut self, path: &str) -> Option<&Value> {
        if let Some((wrong, expected)) = self.invalid_ancestor(path) {
            self.ignore(&wrong, expected);
            return None;
        }
        self.peek(path)
    }

    fn peek(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.root, child).filter(|value| !value.is_null())
    }

    /// Returns the first existing ancestor that is not of the type that the path requires, with that type.
    fn invalid_ancestor(&self, path: &str) -> Option<(String, &'static str)> {
        let mut value = &self.root;
        let mut visited: Vec<&str> = Vec::new();
        for name in path.split('.') {
            let (fits, expected) = match name.parse::<usize>() {
                Ok(_) => (value.is_array(), "list"),
                Err(_) => (value.is_object(), "object"),
            };
            if !(fits || value.is_null()) {
                return Some((visited.join("."), expected));
            }
            visited.push(name);
            value = child(value, name)?;
        }
        None
    }
}

fn child<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match name.parse::<usize>() {
        Ok(index) => value.get(index),
        Err(_) => value.get(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_values_are_noted_with_their_path() {
        let text = br#"{"a": {"b": [{"c": "x"}, 3]}, "n": null, "ip": "10.0.0.300", "flag": "yes", "id": 7}"#;
        let mut document = JsonDocument::read("file", text).unwrap();
        assert_eq!(document.text("a.b.0.c").as_deref(), Some("x"));
        assert_eq!((document.text("n"), document.text("n.x"), document.text("a.b.9.c")), (None, None, None));
        assert_eq!((document.length("a.b"), document.length("none")), (2, 0));
        assert_eq!(document.text_or_number("id").as_deref(), Some("7"));
        assert!(document.into_parts().1.is_empty());
        let mut document = JsonDocument::read("file", text).unwrap();
        assert_eq!(
            (document.text("a.b.1.c"), document.text("a.b.c"), document.text("id.x")),
            (None, None, None)
        );
        assert_eq!((document.text("id"), document.ipv4("ip"), document.is_true("flag")), (None, None, false));
        assert_eq!((document.length("a"), document.keys("flag")), (0, vec![]));
        assert_eq!(
            document.into_parts().1,
            [
                "ignoring a.b.1 of file, which is no object",
                "ignoring a.b of file, which is no object",
                "ignoring id of file, which is no object",
                "ignoring id of file, which is no text",
                "ignoring ip of file, which is no IPv4 address",
                "ignoring flag of file, which is no boolean",
                "ignoring a of file, which is no list",
                "ignoring flag of file, which is no object",
            ]
        );
        assert!(JsonDocument::read("file", b" \n").unwrap().is_empty());
        assert!(JsonDocument::read("file", b"{").is_err());
        assert_eq!(
            JsonDocument::read("file", b"[]").unwrap().into_parts().1,
            ["ignoring file, which is no object"]
        );
    }

    #[test]
    fn notes_are_limited() {
        let many = format!("{{\"a\": [{}]}}", vec!["3"; 1000].join(","));
        let mut document = JsonDocument::read("file", many.as_bytes()).unwrap();
        for index in 0..document.length("a") {
            document.text(&format!("a.{index}"));
        }
        assert_eq!(document.into_parts().1.len(), MAX_METADATA_NOTES);
    }
}
