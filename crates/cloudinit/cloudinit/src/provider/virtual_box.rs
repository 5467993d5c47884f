//! VirtualBox guest properties, set on the host with `VBoxManage guestproperty set VM NAME VALUE`.

use super::{Malformed, PropertyLookup, decode_content};
use crate::encoding::{ContentEncoding, DecodeError};
use crate::metadata::Metadata;

const USER_DATA: &str = "/coreos-cloudinit/user-data";
/// An encoding name as in `write_files`.
const ENCODING: &str = "/coreos-cloudinit/user-data.encoding";
const HOSTNAME: &str = "/coreos-cloudinit/hostname";
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
