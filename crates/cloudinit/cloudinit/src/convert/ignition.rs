//! Converts the Butane document to Ignition: the same tree with camel-case names, and contents as `data:`
//! URLs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Error, SerializeMap};
use serde::{Serialize, Serializer};
use serde_yaml::Value;

use super::document::Document;
use super::error::ConvertError;

const VERSION: &str = "3.3.0";
/// Names that exist in Butane only.
const INLINE: &str = "inline";
const HEADER_KEYS: [&str; 2] = ["variant", "version"];

/// Returns JSON, terminated by a line break.
pub(super) fn print(document: &Document) -> Result<String, ConvertError> {
    let tree = serde_yaml::to_value(document).map_err(ConvertError::Yaml)?;
    let mut text = serde_json::to_string_pretty(&Config(&tree)).map_err(ConvertError::Json)?;
    text.push('\n');
    Ok(text)
}

/// A `data:` URL (RFC 2397) without media type; text is percent-encoded to stay readable.
pub(super) fn data_url(content: &[u8]) -> String {
    let Some(text) = text(content) else {
        return format!("data:;base64,{}", STANDARD.encode(content));
    };
    let mut url = "data:,".to_owned();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b':' | b'=' => {
                url.push(char::from(byte));
            }
            byte => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

/// Returns `content` as text if YAML and URLs can represent it; `None` for other control characters or binary
/// data.
pub(super) fn text(content: &[u8]) -> Option<&str> {
    let text = str::from_utf8(content).ok()?;
    (!text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t'))).then_some(text)
}

struct Config<'a>(&'a Value);

#[derive(Serialize)]
struct IgnitionSection {
    version: &'static str,
}

impl Serialize for Config<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ignition", &IgnitionSection { version: VERSION })?;
        for (name, value) in entries(self.0)? {
            if !HEADER_KEYS.contains(&name) {
                map.serialize_entry(&camel_case(name), &Nested(value))?;
            }
        }
        map.end()
    }
}

struct Nested<'a>(&'a Value);

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Mapping(_) => {
                let mut map = serializer.serialize_map(None)?;
                for (name, value) in entries(self.0)? {
                    match value.as_str().filter(|_| name == INLINE) {
                        Some(text) => map.serialize_entry("source", &data_url(text.as_bytes()))?,
                        None => map.serialize_entry(&camel_case(name), &Nested(value))?,
                    }
                }
                map.end()
            }
            Value::Sequence(items) => serializer.collect_seq(items.iter().map(Nested)),
            scalar => scalar.serialize(serializer),
        }
    }
}

/// Keys of the document are always strings.
fn entries<E: Error>(value: &Value) -> Result<Vec<(&str, &Value)>, E> {
    let mapping = value.as_mapping().ok_or_else(|| E::custom("no mapping"))?;
    mapping
        .iter()
        .map(|(key, value)| Ok((key.as_str().ok_or_else(|| E::custom("no name"))?, value)))
        .collect()
}

/// Converts `home_dir` to `homeDir`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut all, word| {
        let mut letters = word.chars();
        all.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        all.push_str(letters.as_str());
        all
    })
}
