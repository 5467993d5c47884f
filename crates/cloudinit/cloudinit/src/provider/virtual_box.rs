//! VirtualBox guest properties, set on the host with `VBoxManage guestproperty set VM NAME VALUE`.

use super::{Malformed, PropertyLookup, decode_content};
use crate::encoding::{ContentEncoding, DecodeError};
use crate::metadata::Metadata;

const USER_DATA: &str = "/coreos-cloudinit/user-data";
/// An encoding name as in `write_files`.
const ENCODING: &str = "/coreos-cloudinit/user-data.encoding";
const HOSTNAME: &str = "/coreos-cloudinit/hostname";
/// Prefix of a value in the output of `VBoxControl`. Values may span several lines.
const VALUE_PREFIX: &str = "Value: ";

/// Parses the output of `VBoxControl guestproperty get`, which may start with a banner.
pub fn property_value(output: &str) -> Option<&str> {
    let start =
        if output.starts_with(VALUE_PREFIX) { 0 } else { output.find(&format!("\n{VALUE_PREFIX}"))? + 1 };
    let property_value = &output[start + VALUE_PREFIX.len()..];
    Some(property_value.strip_suffix('\n').unwrap_or(property_value))
}

/// Returns the user-data; empty if there is none.
///
/// # Errors
/// The encoding is unknown, or the content does not match it.
pub fn user_data(get: &mut PropertyLookup<'_>) -> Result<Vec<u8>, Malformed> {
    let Some(data) = get(USER_DATA).filter(|data| !data.is_empty()) else { return Ok(Vec::new()) };
    let name = get(ENCODING).unwrap_or_default();
    let encoding = ContentEncoding::parse(name.trim()).ok_or(DecodeError::Unsupported(name))?;
    decode_content(data.into_bytes(), encoding)
}

pub fn metadata(get: &mut PropertyLookup<'_>) -> Metadata {
    let hostname = get(HOSTNAME).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    Metadata { hostname, ..Metadata::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses() {
        let title =
            "Oracle VM VirtualBox Guest Additions Command Line Management Interface Version 7.0.20\n\n";
        for (output, expect) in [
            ("No value set!\n", None),
            ("", None),
            ("Value: core-01\n", Some("core-01")),
            ("Value: \n", Some("")),
            ("Value: #cloud-config\nhostname: a\n\n", Some("#cloud-config\nhostname: a\n")),
            ("xValue: a\n", None),
        ] {
            assert_eq!(property_value(output), expect, "{output:?}");
            assert_eq!(property_value(&format!("{title}{output}")), expect, "{output:?}");
        }
        assert_eq!(property_value("a\r\nValue: b"), Some("b"));
    }

    #[test]
    fn properties() {
        let read = |data: Option<&str>, encoding: Option<&str>| {
            user_data(&mut |key| if key == USER_DATA { data } else { encoding }.map(str::to_owned))
        };
        assert_eq!(read(None, Some("base64")).unwrap(), b"");
        assert_eq!(read(Some("#!/bin/sh"), None).unwrap(), b"#!/bin/sh");
        assert_eq!(read(Some("aQ=="), Some("b64")).unwrap(), b"i");
        assert!(read(Some("aQ=="), Some("rot13")).is_err() && read(Some("*"), Some("b64")).is_err());
        assert_eq!(metadata(&mut |_| Some(" core-01\n".into())).hostname.as_deref(), Some("core-01"));
        assert_eq!(metadata(&mut |_| None), Metadata::default());
    }
}
