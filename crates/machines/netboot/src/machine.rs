//! What identifies a machine: its MAC address, UUID, serial number and host name.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::limits::LABEL_BYTES;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ParseIdError {
    #[error("invalid MAC address `{0}`: expected six bytes such as 52:54:00:12:34:56")]
    Mac(String),
    #[error(
        "invalid UUID `{0}`: expected 32 hexadecimal digits such as 6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54"
    )]
    Uuid(String),
    #[error("invalid label: expected 1 to {LABEL_BYTES} characters without control characters")]
    Label,
}

impl Mac {
    /// `52-54-00-12-34-56`, for URLs and file names.
    #[must_use]
    pub fn with_hyphens(self) -> String {
        self.to_string().replace(':', "-")
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(to, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

impl FromStr for Mac {
    type Err = ParseIdError;

    /// With colons or hyphens, in any case.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = || ParseIdError::Mac(excerpt(text));
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(error)?;
            *byte = hexadecimal(part).ok_or_else(error)?;
        }
        if parts.next().is_some() { Err(error()) } else { Ok(Self(bytes)) }
    }
}

/// The UUID of the firmware, in the order of its digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// From SMBIOS and DHCP option 97, where the first three fields are little-endian.
    #[must_use]
    pub fn from_smbios(bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
        let mut digits = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
        digits[8..].copy_from_slice(&rest);
        Self(digits)
    }

    /// Whether firmware has it instead of a UUID of its own.
    #[must_use]
    pub fn is_placeholder(self) -> bool {
        self.0 == [0; 16] || self.0 == [0xff; 16]
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                to.write_str("-")?;
            }
            write!(to, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

impl FromStr for Uuid {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = || ParseIdError::Uuid(excerpt(text));
        let digits: Vec<char> = text.chars().filter(|char| *char != '-').take(33).collect();
        let mut bytes = [0; 16];
        if digits.len() != 32 {
            return Err(error());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = hexadecimal(&pair.iter().collect::<String>()).ok_or_else(error)?;
        }
        Ok(Self(bytes))
    }
}

/// `from_str_radix` alone accepts a sign.
fn hexadecimal(pair: &str) -> Option<u8> {
    let digits = pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
}

/// A serial number or host name, as the machine reports it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Label(String);

impl Label {
    /// The text of the label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, to)
    }
}

impl FromStr for Label {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let text = text.trim();
        if text.is_empty() || text.len() > LABEL_BYTES || text.chars().any(char::is_control) {
            return Err(ParseIdError::Label);
        }
        Ok(Self(text.to_owned()))
    }
}

/// For messages, which must not grow with their input.
fn excerpt(text: &str) -> String {
    text.chars().take(60).filter(|char| !char.is_control()).collect()
}

macro_rules! serialize_as_text {
    ($($name:ident)*) => {
        $(
            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }
        )*
    };
}

serialize_as_text! { Mac Uuid }

/// A machine, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity<'a> {
    /// Of the interface that boots.
    pub mac: Option<Mac>,
    /// Of the firmware.
    pub uuid: Option<Uuid>,
    /// Of the system, in SMBIOS. DHCP does not have it.
    pub serial: Option<&'a Label>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses() {
        for text in ["52:54:00:12:34:5f", "52-54-00-12-34-5F"] {
            let mac: Mac = text.parse().unwrap();
            assert_eq!(mac, Mac([0x52, 0x54, 0, 0x12, 0x34, 0x5f]));
            assert_eq!(mac.to_string(), "52:54:00:12:34:5f");
            assert_eq!(mac.with_hyphens(), "52-54-00-12-34-5f");
        }
        for text in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "52:54:00:12:34:5g",
            "52:54-00:12:34:56",
            "+2:54:00:12:34:56",
            "525400123456",
            "../../etc/passwd",
        ] {
            let error = text.parse::<Mac>().unwrap_err();
            assert!(error.to_string().contains("52:54:00:12:34:56"), "{error}");
        }
    }

    #[test]
    fn uuids_of_smbios_have_little_endian_fields() {
        let text = "6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54";
        let uuid: Uuid = text.parse().unwrap();
        assert_eq!(uuid.to_string(), text);
        assert_eq!("6E7F4B0C3C5E4F0E8F0B2B0D6F1C9A54".parse(), Ok(uuid));
        let bytes =
            [0x0c, 0x4b, 0x7f, 0x6e, 0x5e, 0x3c, 0x0e, 0x4f, 0x8f, 0x0b, 0x2b, 0x0d, 0x6f, 0x1c, 0x9a, 0x54];
        assert_eq!(Uuid::from_smbios(bytes), uuid);
        for text in ["", "6e7f4b0c", "6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a5g", &"0".repeat(33)] {
            text.parse::<Uuid>().unwrap_err();
        }
    }

    #[test]
    fn labels_are_bounded_and_have_no_control_characters() {
        assert_eq!(" QEMU 1 ".parse::<Label>().unwrap().as_str(), "QEMU 1");
        for text in ["", " ", "a\nb", "a\u{1b}b", &"a".repeat(LABEL_BYTES + 1)] {
            assert_eq!(text.parse::<Label>(), Err(ParseIdError::Label), "{text:?}");
        }
    }
}
