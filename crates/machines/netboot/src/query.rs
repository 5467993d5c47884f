//! What a machine reports about itself in a URL: `mac=52-54-00-12-34-56&uuid=...&serial=...&hostname=...`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::limits::QUERY_BYTES;
use crate::machine::{Identity, Label, Mac, ParseIdError, Uuid};

/// All but the characters that need no encoding in any part of a URL.
pub const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A machine's report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Of the interface that boots.
    pub mac: Option<Mac>,
    /// Of the firmware.
    pub uuid: Option<Uuid>,
    /// Of the system.
    pub serial: Option<Label>,
    /// From DHCP.
    pub host_name: Option<Label>,
}

/// Why a query cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum QueryError {
    #[error("the query has more than {QUERY_BYTES} bytes")]
    Long,
    #[error("parameter mac")]
    Mac(#[source] ParseIdError),
}

impl Query {
    /// Parses a query. iPXE sends an empty value for what it does not know. A UUID, serial number or host name that
    /// cannot be used is ignored: firmware contains placeholders.
    ///
    /// # Errors
    /// It is too long, or its MAC address is malformed.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        if text.len() > QUERY_BYTES {
            return Err(QueryError::Long);
        }
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            match &*name {
                "mac" => query.mac = Some(value.parse().map_err(QueryError::Mac)?),
                "uuid" => query.uuid = value.parse().ok().filter(|uuid: &Uuid| !uuid.is_placeholder()),
                "serial" => query.serial = value.parse().ok(),
                "hostname" => query.host_name = value.parse().ok(),
                _ => {}
            }
        }
        Ok(query)
    }

    /// A machine that reports everything, to try templates.
    #[must_use]
    pub fn sample() -> Self {
        let mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        let (uuid, label) = (Uuid::from_smbios([1; 16]), "sample".parse::<Label>().ok());
        Self { mac: Some(mac), uuid: Some(uuid), serial: label.clone(), host_name: label }
    }

    /// What rules match.
    #[must_use]
    pub fn identity(&self) -> Identity<'_> {
        Identity { mac: self.mac, uuid: self.uuid, serial: self.serial.as_ref() }
    }

    /// The query of a URL, without characters that a kernel command line or a script would interpret.
    #[must_use]
    pub fn encoded(&self) -> String {
        let mut text = String::new();
        let mut put = |name: &str, value: Option<String>| {
            let Some(value) = value else { return };
            let separator = if text.is_empty() { "" } else { "&" };
            text += &format!("{separator}{name}={}", utf8_percent_encode(&value, UNRESERVED));
        };
        put("mac", self.mac.map(Mac::with_hyphens));
        put("uuid", self.uuid.map(|uuid| uuid.to_string()));
        put("serial", self.serial.as_ref().map(ToString::to_string));
        put("hostname", self.host_name.as_ref().map(ToString::to_string));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_reports_itself() {
        let check = |text: &str, expect: &str| assert_eq!(Query::parse(text).unwrap().encoded(), expect);
        check("", "");
        check("mac=&uuid=&serial=&hostname=", "");
        check(
            "mac=52-54-00-12-34-56&uuid=6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54&serial=A%201&hostname=core-01&other=1",
            "mac=52-54-00-12-34-56&uuid=6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54&serial=A%201&hostname=core-01",
        );
        check("mac=52:54:00:12:34:56&uuid=Not%20Set", "mac=52-54-00-12-34-56");
        check("uuid=00000000-0000-0000-0000-000000000000", "");
        check("serial=%22a%0Ab&hostname=", "");
        check("serial=%22%24%7Bx%7D%26%27", "serial=%22%24%7Bx%7D%26%27");
    }

    #[test]
    fn unusable_queries_are_refused() {
        let error = Query::parse("mac=../../etc").unwrap_err();
        assert!(matches!(error, QueryError::Mac(_)), "{error}");
        assert_eq!(Query::parse(&"a".repeat(QUERY_BYTES + 1)), Err(QueryError::Long));
    }
}
