//! Resolves plain scalars as YAML 1.1, compatible with the library of CoreOS's time.
//!
//! The original text is always kept: `permissions: 0644` is read as text, `debug: yes` as a boolean.

use std::sync::Arc;

const TAG_PREFIX: &str = "tag:yaml.org,2002:";

#[derive(Debug, Clone)]
pub struct Scalar {
    pub text: Arc<str>,
    /// `!!binary` content, decoded.
    pub binary: Option<Arc<[u8]>>,
    pub plain: bool,
    pub tag: Option<Tag>,
}

/// The tags that affect resolution; others are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    Text,
    Integer,
    Float,
    Boolean,
    Null,
    Binary,
}

impl Tag {
    pub fn parse(tag: &str) -> Option<Self> {
        let name = tag.strip_prefix(TAG_PREFIX)?;
        Some(match name {
            "str" => Self::Text,
            "int" => Self::Integer,
            "float" => Self::Float,
            "bool" => Self::Boolean,
            "null" => Self::Null,
            "binary" => Self::Binary,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScalarType {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text,
}

impl Scalar {
    /// Resolves the scalar by its tag, or by its text if it is plain.
    pub fn resolve(&self) -> ScalarType {
        match self.tag {
            Some(Tag::Text | Tag::Binary) => ScalarType::Text,
            Some(Tag::Null) => ScalarType::Null,
            Some(Tag::Integer | Tag::Float | Tag::Boolean) => resolve_plain(&self.text),
            None if self.plain => resolve_plain(&self.text),
            None => ScalarType::Text,
        }
    }
}

fn resolve_plain(text: &str) -> ScalarType {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return ScalarType::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => {
            return ScalarType::Boolean(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            return ScalarType::Boolean(false);
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return ScalarType::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return ScalarType::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return ScalarType::Float(f64::NAN),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return ScalarType::Text;
    }
    let digits = text.replace('_', "");
    if let Some(integer) = integer(&digits) {
        return ScalarType::Integer(integer);
    }
    let number = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    match digits.parse() {
        Ok(float) if number => ScalarType::Float(float),
        _ => ScalarType::Text,
    }
}

/// Parses decimal, `0x`, `0b`, `0o` and octal numbers with a leading zero.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_read_as_yaml_1_1() {
        use ScalarType::{Boolean, Float, Integer, Null, Text};
        for (text, expect) in [
            ("", Null),
            ("~", Null),
            ("Null", Null),
            ("yes", Boolean(true)),
            ("Off", Boolean(false)),
            ("oN", Text),
            ("0644", Integer(420)),
            ("0899", Float(899.0)),
            ("0b101", Integer(5)),
            ("0x1f", Integer(31)),
            ("-0x1f", Integer(-31)),
            ("1_000", Integer(1000)),
            ("+12", Integer(12)),
            ("1.5", Float(1.5)),
            ("1e6", Float(1e6)),
            ("12:00", Text),
            ("2001-01-01", Text),
            ("-", Text),
            ("0x", Text),
            ("1.2.3.4", Text),
            (".inf", Float(f64::INFINITY)),
            ("infinity", Text),
            ("9223372036854775808", Float(9_223_372_036_854_775_808.0)),
        ] {
            assert_eq!(resolve_plain(text), expect, "{text:?}");
        }
    }
}
