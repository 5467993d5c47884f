//! The address of an Ethernet device.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Six bytes; as text `82:4b:b6:2f:54:4e`, as Go's `net.HardwareAddr` prints it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MacAddress(pub [u8; 6]);

/// A text that is no MAC address of six bytes.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a MAC address of the form 82:4b:b6:2f:54:4e")]
pub struct ParseMacError(String);

impl MacAddress {
    /// The address that a device with a stable seed has: the first six bytes, as a locally administered unicast address.
    pub fn local(seed: [u8; 6]) -> MacAddress {
        let mut bytes = seed;
        bytes[0] = (bytes[0] & 0xfc) | 0x02;
        MacAddress(bytes)
    }
}

impl FromStr for MacAddress {
    type Err = ParseMacError;

    /// Accepts the three notations of Go's `net.ParseMAC`: `:` or `-` between bytes, `.` between pairs of bytes.
    fn from_str(text: &str) -> Result<MacAddress, ParseMacError> {
        let error = || ParseMacError(text.to_string());
        let (separator, digits) = match text.as_bytes().get(2) {
            Some(b':') => (':', 2),
            Some(b'-') => ('-', 2),
            _ => ('.', 4),
        };
        let mut bytes = Vec::with_capacity(6);
        for group in text.split(separator) {
            if group.len() != digits || !group.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(error());
            }
            let value = u16::from_str_radix(group, 16).map_err(|_| error())?.to_be_bytes();
            bytes.extend_from_slice(&value[2 - digits / 2..]);
        }
        bytes.try_into().map(MacAddress).map_err(|_| error())
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, last] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{last:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<MacAddress> for String {
    fn from(address: MacAddress) -> String {
        address.to_string()
    }
}

impl TryFrom<String> for MacAddress {
    type Error = ParseMacError;

    fn try_from(text: String) -> Result<MacAddress, ParseMacError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notations() {
        let address = MacAddress([0x82, 0x4b, 0xb6, 0x2f, 0x54, 0x4e]);
        for text in ["82:4b:b6:2f:54:4e", "82-4B-B6-2F-54-4E", "824b.b62f.544e"] {
            assert_eq!(text.parse(), Ok(address));
        }
        assert_eq!(address.to_string(), "82:4b:b6:2f:54:4e");
        for text in [
            "",
            "82",
            "82:4b:b6:2f:54",
            "82:4b:b6:2f:54:4e:00",
            "82:4b:b6:2f:54:+e",
            "82-4b:b6:2f:54:4e",
            "824b.b62f",
        ] {
            assert!(text.parse::<MacAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_local_address_is_unicast() {
        assert_eq!(MacAddress::local([0xff; 6]).to_string(), "fe:ff:ff:ff:ff:ff");
        assert_eq!(MacAddress::local([0; 6]).to_string(), "02:00:00:00:00:00");
    }
}
