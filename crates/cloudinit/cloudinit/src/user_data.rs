//! Decodes user-data and detects its kind (contract 1.1 and 1.2).
//!
//! Only transport encodings and the header are examined; YAML is not parsed.

use std::borrow::Cow;

use serde::Deserialize;

use crate::encoding::{DecodeError, decode_base64, gunzip, is_gzip};
use crate::limits::{MAX_GZIP_LEVELS, MAX_RAW_BYTES, MAX_TEXT_BYTES};
use crate::mime;

pub const CLOUD_CONFIG_HEADER: &str = "#cloud-config";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Minimum length to detect base64: short words would match.
const MIN_BASE64_BYTES: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Empty,
    Script,
    CloudConfig,
    Ignition,
    Multipart,
    /// With a hint at the intended kind.
    Unknown(Option<&'static str>),
}

impl Kind {
    /// The name in results and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Script => "script",
            Self::CloudConfig => "cloud-config",
            Self::Ignition => "ignition",
            Self::Multipart => "multipart",
            Self::Unknown(_) => "unknown",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserData {
    pub kind: Kind,
    /// Without byte order mark. Only cloud-config must be UTF-8.
    pub text: Vec<u8>,
    /// Whether the whole text was base64 without being declared as such.
    pub was_base64: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserDataError {
    #[error("user-data has {0} bytes, more than {MAX_RAW_BYTES}")]
    TooLarge(usize),
    #[error("user-data is gzip inside of gzip, more than {MAX_GZIP_LEVELS} levels deep")]
    NestedGzip,
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Decodes user-data.
///
/// # Errors
/// A limit is exceeded, or gzip data is damaged. An unknown kind is not an error.
pub fn decode(raw: Vec<u8>) -> Result<UserData, UserDataError> {
    if raw.len() > MAX_RAW_BYTES {
        return Err(UserDataError::TooLarge(raw.len()));
    }
    let text = unpack(Cow::Owned(raw), MAX_TEXT_BYTES)?.into_owned();
    let kind = classify(&text);
    if let Kind::Unknown(_) = kind
        && let Some(inner) = whole_base64(&text)
    {
        let inner = unpack(Cow::Owned(inner), MAX_TEXT_BYTES)?.into_owned();
        let inner_kind = classify(&inner);
        if !matches!(inner_kind, Kind::Unknown(_) | Kind::Empty) {
            return Ok(UserData { kind: inner_kind, text: inner, was_base64: true });
        }
    }
    Ok(UserData { kind, text, was_base64: false })
}

/// Decompresses gzip and drops the byte order mark; borrowed if there is nothing to decompress.
pub(crate) fn unpack(mut bytes: Cow<'_, [u8]>, limit: usize) -> Result<Cow<'_, [u8]>, UserDataError> {
    for _ in 0..MAX_GZIP_LEVELS {
        if !is_gzip(&bytes) {
            break;
        }
        bytes = Cow::Owned(gunzip(&bytes, limit)?);
    }
    if is_gzip(&bytes) {
        return Err(UserDataError::NestedGzip);
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        match &mut bytes {
            Cow::Borrowed(text) => *text = &text[BYTE_ORDER_MARK.len()..],
            Cow::Owned(text) => drop(text.drain(..BYTE_ORDER_MARK.len())),
        }
    }
    Ok(bytes)
}

fn whole_base64(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() < MIN_BASE64_BYTES {
        return None;
    }
    decode_base64(text).ok().map(|decoded| decoded.bytes)
}

/// Detects the kind of a decoded text.
pub fn classify(text: &[u8]) -> Kind {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Kind::Empty;
    }
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    if first.starts_with("#!") {
        return Kind::Script;
    }
    if first.trim_end() == CLOUD_CONFIG_HEADER {
        return Kind::CloudConfig;
    }
    if mime::is_multipart(text) {
        return Kind::Multipart;
    }
    match ignition(text) {
        Some(true) => Kind::Ignition,
        Some(false) => Kind::Unknown(Some("looks like an Ignition config without ignition.version")),
        None => Kind::Unknown(hint(&first, text)),
    }
}

#[derive(Deserialize)]
struct IgnitionHeader {
    #[serde(rename = "ignitionVersion")]
    first_version: Option<serde_json::Value>,
    ignition: Option<serde_json::Value>,
}

/// Returns `Some(true)` for an Ignition config, `Some(false)` for one without version.
fn ignition(text: &[u8]) -> Option<bool> {
    if !text.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let head: IgnitionHeader = serde_json::from_slice(text).ok()?;
    if head.first_version.is_some_and(|version| version.is_number()) {
        return Some(true);
    }
    head.ignition.map(|ignition| ignition.get("version").is_some_and(serde_json::Value::is_string))
}

fn hint(first: &str, text: &[u8]) -> Option<&'static str> {
    let starts =
        |prefix: &str| text.split(|byte| *byte == b'\n').any(|line| line.starts_with(prefix.as_bytes()));
    let lower = first.trim_start().to_ascii_lowercase();
    let header = lower.trim_end();
    Some(match () {
        () if header.starts_with("#cloud-config-archive") => "#cloud-config-archive is not supported",
        () if header.starts_with("#include") => "#include is not supported",
        () if header.starts_with("mime-version:") || header.starts_with("content-type:") => {
            "of MIME only multipart is read, and its headers must come before the first empty line"
        }
        () if header.starts_with("#cloud-config ") && header.contains(':') => {
            "the document seems to be on one line: its line breaks were lost"
        }
        () if header == CLOUD_CONFIG_HEADER || header == "# cloud-config" => {
            "the first line must be exactly #cloud-config: lower case, no blanks before or within"
        }
        () if header.is_empty() && starts(CLOUD_CONFIG_HEADER) => "#cloud-config must be the first line",
        () if header.starts_with("<!doctype") || header.starts_with("<html") => "this is an HTML page",
        () if starts("variant:") || starts("ignition:") || starts("systemd:") || starts("storage:") => {
            "this looks like a Butane config: transpile it, and boot it with an Ignition system"
        }
        () if starts("coreos:") || starts("ssh_authorized_keys:") || starts("write_files:") => {
            "the first line #cloud-config is missing"
        }
        () => return None,
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::encoding::gzip;

    #[test]
    fn kinds() {
        for (text, expect) in [
            ("", "empty"),
            (" \n\n", "empty"),
            ("#!/bin/sh\n", "script"),
            ("\u{feff}#!/bin/sh\n", "script"),
            ("#cloud-config", "cloud-config"),
            ("#cloud-config \t\r\nhostname: a\n", "cloud-config"),
            ("\u{feff}#cloud-config\n", "cloud-config"),
            ("\n#cloud-config\n", "unknown"),
            (" #cloud-config\n", "unknown"),
            ("#Cloud-Config\n", "unknown"),
            ("# cloud-config\n", "unknown"),
            ("#cloud-config foo\n", "unknown"),
            ("#cloud-config-archive\n", "unknown"),
            ("{\"ignitionVersion\": 1}", "ignition"),
            ("{\"ignition\": {\"version\": \"3.0.0\"}, \"x\": [1]}", "ignition"),
            ("{\"ignition\": {}}", "unknown"),
            ("hello", "unknown"),
            ("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n", "multipart"),
            ("From nobody\nContent-Type: multipart/mixed\n", "multipart"),
            ("MIME-Version: 1.0\nContent-Type: text/cloud-config\n\n", "unknown"),
        ] {
            let decoded = decode(text.as_bytes().to_vec()).unwrap();
            assert_eq!(decoded.kind.name(), expect, "{text:?}");
            assert!(!decoded.text.starts_with(BYTE_ORDER_MARK));
        }
        assert_eq!(
            classify(b"{\"ignition\": {}}"),
            Kind::Unknown(Some("looks like an Ignition config without ignition.version"))
        );
        assert_eq!(
            classify(b"#cloud-config hostname: a"),
            Kind::Unknown(Some("the document seems to be on one line: its line breaks were lost"))
        );
    }

    #[test]
    fn hints() {
        for (text, hint) in [
            ("<!DOCTYPE html>\n", "HTML page"),
            ("<html>\n", "HTML page"),
            ("variant: flatcar\nversion: 1.0.0\n", "Butane"),
            ("hostname: a\ncoreos:\n  units: []\n", "first line #cloud-config is missing"),
            ("\n#cloud-config\n", "#cloud-config must be the first line"),
            ("# cloud-config\n", "must be exactly #cloud-config"),
            ("#cloud-config-archive\n", "#cloud-config-archive is not supported"),
            ("#include\nhttp://x\n", "#include is not supported"),
            ("MIME-Version: 1.0\n\nx", "of MIME only multipart is read"),
        ] {
            let Kind::Unknown(Some(message)) = classify(text.as_bytes()) else { panic!("{text}") };
            assert!(message.contains(hint), "{text}: {message}");
        }
        assert_eq!(classify(b"hello"), Kind::Unknown(None));
    }

    #[test]
    fn transport_encodings_are_undone() {
        let text = b"#cloud-config\nhostname: a\n";
        let mut raw = text.to_vec();
        for _ in 0..MAX_GZIP_LEVELS {
            raw = gzip(&raw);
            assert_eq!(decode(raw.clone()).unwrap().text, text);
        }
        assert_eq!(decode(gzip(&raw)), Err(UserDataError::NestedGzip));
        for inner in [text.to_vec(), gzip(text)] {
            let decoded = decode(STANDARD.encode(inner).into_bytes()).unwrap();
            assert_eq!((decoded.kind, decoded.was_base64), (Kind::CloudConfig, true));
        }
        let twice = STANDARD.encode(STANDARD.encode(text));
        assert!(matches!(decode(twice.into_bytes()).unwrap().kind, Kind::Unknown(_)));
        assert_eq!(decode(vec![b'a'; MAX_RAW_BYTES + 1]), Err(UserDataError::TooLarge(MAX_RAW_BYTES + 1)));
        let zeros = gzip(&vec![0; MAX_TEXT_BYTES + 1]);
        assert!(matches!(decode(zeros), Err(UserDataError::Decode(DecodeError::TooLarge(_)))));
    }
    /// One wrong byte or a truncation gives an error or another kind, but never part of the text.
    #[test]
    fn damaged_transports_give_all_or_nothing() {
        let text = b"#cloud-config\nhostname: a\nwrite_files: [{path: /x, content: some content}]\n".to_vec();
        let packed = gzip(&gzip(&text));
        let inputs = [packed.clone(), STANDARD.encode(&packed).into_bytes()];
        for input in inputs {
            for at in 0..input.len() {
                let mut flipped = input.clone();
                flipped[at] ^= 0x11;
                for damaged in [&flipped, &input[..at].to_vec()] {
                    if let Ok(decoded) = decode(damaged.clone()) {
                        let whole = decoded.kind != Kind::CloudConfig || decoded.text == text;
                        assert!(whole, "byte {at}: {:?}", String::from_utf8_lossy(&decoded.text));
                    }
                }
            }
        }
    }
}
