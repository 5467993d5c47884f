//! URIs of keys on tokens (RFC 7512): `pkcs11:token=safe;object=root-1?module-path=/usr/lib/softhsm/libsofthsm2.so`.
//!
//! Strict: an attribute that is not supported is an error, because ignoring it could select another key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

const SCHEME: &str = "pkcs11:";
/// Maximum length in bytes.
const MAX_LENGTH: usize = 4096;
/// Maximum length of an unknown attribute's name in an error.
const MAX_NAME: usize = 32;

/// Attributes of the path, in the order of [`KeyUri`]'s text.
const PATH: [&str; 8] = ["token", "manufacturer", "model", "serial", "slot-id", "object", "id", "type"];
/// Attributes of the query.
const QUERY: [&str; 3] = ["module-name", "module-path", "pin-source"];
/// `pk11-res-avail` and what both parts add to it, less what separates attributes.
const PATH_CHARACTERS: &str = "-._~:[]@!$'()*+,=&";
const QUERY_CHARACTERS: &str = "-._~:[]@!$'()*+,=/?|";

/// What a URI's text does not encode: a subset of both.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const ENCODED_IN_PATHS: AsciiSet = ENCODED.remove(b'/');

/// Names a key on a token. Its text has no secrets: a URI with a PIN is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyUri {
    pub(crate) token: Option<String>,
    pub(crate) manufacturer: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) slot_id: Option<u64>,
    pub(crate) object: Option<String>,
    pub(crate) id: Option<Vec<u8>>,
    pub(crate) module: Option<Module>,
    pub(crate) pin_source: Option<PathBuf>,
}

/// The library that talks to the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Module {
    /// Absolute.
    Path(PathBuf),
    /// Without `lib` and `.so`.
    Name(String),
}

/// Why a text names no key on a token. It never contains a value: one could be a PIN in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum UriError {
    #[error("does not begin with `{SCHEME}`")]
    Scheme,
    #[error("longer than {MAX_LENGTH} bytes")]
    TooLong,
    #[error(
        "`pin-value`: other users can read a command line; use `pin-source=file:/PATH`, or type the PIN on the terminal"
    )]
    PinValue,
    #[error("byte {at}: expected NAME=VALUE")]
    NoValue { at: usize },
    #[error("byte {at}: unknown attribute{}{name}", if name.is_empty() { "" } else { " " })]
    Unknown { name: String, at: usize },
    #[error("byte {at}: `{name}` occurs twice")]
    Twice { name: &'static str, at: usize },
    #[error("byte {at}: this character of `{name}` must be percent-encoded")]
    Character { name: &'static str, at: usize },
    #[error("`{name}`: expected {expected}")]
    Value { name: &'static str, expected: &'static str },
    #[error("`module-path` and `module-name`: only one can be used")]
    TwoModules,
}

impl KeyUri {
    /// Whether a text is meant as such a URI, and not as the path of a file.
    #[must_use]
    pub fn is_uri(text: &str) -> bool {
        text.get(..SCHEME.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(SCHEME))
    }

    fn set(&mut self, name: &'static str, value: Vec<u8>) -> Result<(), UriError> {
        if name == "id" {
            self.id = Some(value);
            return Ok(());
        }
        let invalid = |expected| UriError::Value { name, expected };
        let value = String::from_utf8(value).map_err(|_| invalid("UTF-8"))?;
        match name {
            "token" => self.token = Some(value),
            "manufacturer" => self.manufacturer = Some(value),
            "model" => self.model = Some(value),
            "serial" => self.serial = Some(value),
            "object" => self.object = Some(value),
            "slot-id" => {
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                let number = value.parse().ok().filter(|_| digits);
                self.slot_id = Some(number.ok_or_else(|| invalid("a decimal number"))?);
            }
            // Tools print the URI of either half of a pair.
            "type" if value == "private" || value == "public" => {}
            "type" => return Err(invalid("`private` or `public`")),
            "module-path" | "module-name" if self.module.is_some() => return Err(UriError::TwoModules),
            "module-path" => {
                let path = absolute(&value).ok_or_else(|| invalid("the absolute path of a library"))?;
                self.module = Some(Module::Path(path));
            }
            "module-name" => {
                let is_name = !value.is_empty() && !value.contains(['/', '\0']);
                let name = is_name.then_some(value).ok_or_else(|| invalid("a name without `/`"))?;
                self.module = Some(Module::Name(name));
            }
            _ => {
                let path = value.strip_prefix("file:").unwrap_or(&value);
                // `file:///PATH` has an empty host.
                let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
                let path = absolute(path).ok_or_else(|| invalid("`file:` and an absolute path"))?;
                self.pin_source = Some(path);
            }
        }
        Ok(())
    }
}

fn absolute(path: &str) -> Option<PathBuf> {
    let is_valid = Path::new(path).is_absolute() && !path.contains('\0') && !path.starts_with("//");
    is_valid.then(|| path.into())
}

impl FromStr for KeyUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text.contains("pin-value") {
            return Err(UriError::PinValue);
        }
        if text.len() > MAX_LENGTH {
            return Err(UriError::TooLong);
        }
        let rest = if Self::is_uri(text) { text.get(SCHEME.len()..) } else { None };
        let rest = rest.ok_or(UriError::Scheme)?;
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let mut uri = Self::default();
        let mut seen = Vec::new();
        let mut part = |text: &str, separator, at, names: &[&'static str], characters| {
            for attribute in Attribute::split(text, separator, at) {
                let name = attribute.name(names)?;
                if seen.contains(&name) {
                    return Err(UriError::Twice { name, at: attribute.at });
                }
                seen.push(name);
                uri.set(name, attribute.value(name, characters)?)?;
            }
            Ok(())
        };
        part(path, ';', SCHEME.len(), &PATH, PATH_CHARACTERS)?;
        if let Some(query) = query {
            part(query, '&', SCHEME.len() + path.len() + 1, &QUERY, QUERY_CHARACTERS)?;
        }
        Ok(uri)
    }
}

/// `NAME=VALUE`, and its place in the URI.
struct Attribute<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Attribute<'a> {
    /// Of a text that begins at `at`.
    fn split(text: &'a str, separator: char, mut at: usize) -> impl Iterator<Item = Self> {
        // An empty path is valid: it restricts nothing.
        let parts = if text.is_empty() { None } else { Some(text.split(separator)) };
        parts.into_iter().flatten().map(move |text| {
            let attribute = Attribute { text, at };
            at += text.len() + 1;
            attribute
        })
    }

    fn name(&self, names: &[&'static str]) -> Result<&'static str, UriError> {
        let (name, _) = self.text.split_once('=').ok_or(UriError::NoValue { at: self.at })?;
        names.iter().copied().find(|known| *known == name).ok_or_else(|| {
            let is_name = name.len() <= MAX_NAME
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte == b'_');
            let name = if is_name { format!("`{name}`") } else { String::new() };
            UriError::Unknown { name, at: self.at }
        })
    }

    fn value(&self, name: &'static str, characters: &str) -> Result<Vec<u8>, UriError> {
        let begin = name.len() + 1;
        let value = self.text.get(begin..).unwrap_or_default();
        for (index, character) in value.char_indices() {
            let is_valid = match character {
                '%' => {
                    let digits = value.as_bytes().get(index + 1..index + 3);
                    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
                }
                _ => character.is_ascii_alphanumeric() || characters.contains(character),
            };
            if !is_valid {
                return Err(UriError::Character { name, at: self.at + begin + index });
            }
        }
        Ok(percent_decode_str(value).collect())
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| {
            value.as_ref().map(|value| percent_encode(value.as_bytes(), &ENCODED).to_string())
        };
        let path =
            |path: &Path| percent_encode(path.as_os_str().as_encoded_bytes(), &ENCODED_IN_PATHS).to_string();
        let attributes = [
            ("token", text(&self.token)),
            ("manufacturer", text(&self.manufacturer)),
            ("model", text(&self.model)),
            ("serial", text(&self.serial)),
            ("slot-id", self.slot_id.map(|number| number.to_string())),
            ("object", text(&self.object)),
            ("id", self.id.as_ref().map(|id| percent_encode(id, &ENCODED).to_string())),
        ];
        let (mut module_name, mut module_path) = (None, None);
        match &self.module {
            Some(Module::Name(name)) => module_name = text(&Some(name.clone())),
            Some(Module::Path(library)) => module_path = Some(path(library)),
            None => {}
        }
        let source = self.pin_source.as_deref().map(|file| format!("file:{}", path(file)));
        let query = [("module-name", module_name), ("module-path", module_path), ("pin-source", source)];
        let join = |attributes: &[(&str, Option<String>)], separator: &str| {
            let present =
                |(name, value): &(&str, Option<String>)| Some(format!("{name}={}", value.as_ref()?));
            attributes.iter().filter_map(present).collect::<Vec<_>>().join(separator)
        };
        let query = join(&query, "&");
        let separator = if query.is_empty() { "" } else { "?" };
        write!(formatter, "{SCHEME}{}{separator}{query}", join(&attributes, ";"))
    }
}

#[cfg(test)]
mod tests;
