//! VMware: the properties of a virtual machine's OVF environment, and the same keys below `guestinfo.` (contract 5.8).
//!
//! Keys are named without `guestinfo.`.

use std::collections::BTreeMap;

use roxmltree::Node;

use super::address::{Side, put};
use super::{Get, Malformed, decoded, ignored, text, xml};
use crate::encoding::{ContentEncoding, DecodeError};
use crate::limits::MAX_PROVIDER_KEYS;
use crate::metadata::{Metadata, NetworkSource};
use crate::network::Cidr;
use crate::template::Addresses;

const PREFIX: &str = "guestinfo.";

/// The properties of an OVF environment below `guestinfo.`. Of one that is there twice the last.
///
/// # Errors
/// It is no XML.
pub fn properties(ovf_environment: &[u8]) -> Result<BTreeMap<String, String>, Malformed> {
    let text = text(ovf_environment)?;
    let document = xml::parse(text)?;
    let mut properties = BTreeMap::new();
    for property in document.descendants().filter(|node| node.tag_name().name() == "Property") {
        let Some(key) = xml::attribute(property, "key").and_then(|key| key.strip_prefix(PREFIX)) else {
            continue;
        };
        if let Some(value) = value(property, text)? {
            properties.insert(key.to_owned(), value);
        }
    }
    Ok(properties)
}

/// A property's value with its line ends. XML makes blanks of those that are not written as references, but user-data
/// is put there as it is.
fn value(property: Node<'_, '_>, text: &str) -> Result<Option<String>, Malformed> {
    let Some(found) = property.attributes().find(|one| one.name() == "value") else { return Ok(None) };
    let written = &text[found.range_value()];
    if !written.contains(['\n', '\t']) {
        return Ok(Some(found.value().to_owned()));
    }
    let quote = if written.contains('"') { '\'' } else { '"' };
    let written = written.replace("\r\n", "\n").replace('\n', "&#10;").replace('\t', "&#9;");
    let alone = format!("<a value={quote}{written}{quote}/>");
    let alone = xml::parse(&alone)?;
    Ok(alone.root_element().attribute("value").map(str::to_owned))
}

/// Where the user-data is, or the user-data itself.
#[derive(Debug, PartialEq, Eq)]
pub enum UserData {
    /// Decoded; empty where there is none.
    Here(Vec<u8>),
    /// To be downloaded, and then decoded.
    At { url: String, encoding: ContentEncoding },
}

/// # Errors
/// It is not what its encoding says, or that is none.
pub fn user_data(get: &mut Get<'_>) -> Result<UserData, Malformed> {
    let mut asked = |key: &str| get(key).filter(|value| !value.is_empty());
    let data = asked("coreos.config.data");
    let url = if data.is_none() { asked("coreos.config.url") } else { None };
    if data.is_none() && url.is_none() {
        return Ok(UserData::Here(Vec::new()));
    }
    let name = asked("coreos.config.data.encoding").unwrap_or_default();
    let encoding = ContentEncoding::parse(name.trim()).ok_or(DecodeError::Unsupported(name))?;
    match url {
        Some(url) => Ok(UserData::At { url: url.trim().to_owned(), encoding }),
        None => Ok(UserData::Here(decoded(data.unwrap_or_default().into_bytes(), encoding)?)),
    }
}

/// Name, addresses, and what describes the network.
pub fn metadata(get: &mut Get<'_>) -> Metadata {
    let (network, addresses, notes) = Default::default();
    let mut walk = Walk { get, left: MAX_PROVIDER_KEYS, network, addresses, notes };
    let hostname = walk.ask("hostname");
    for list in ["dns.server", "dns.domain"] {
        // Ends with the first that is not there.
        (0..MAX_PROVIDER_KEYS).find(|number| walk.keep(&format!("{list}.{number}")).is_none());
    }
    (0..MAX_PROVIDER_KEYS).find(|number| !walk.interface(*number));
    let Walk { left, network, addresses, mut notes, .. } = walk;
    if left == 0 {
        notes.push(format!("no more than {MAX_PROVIDER_KEYS} keys of guestinfo are asked for"));
    }
    let network = (!network.is_empty()).then_some(NetworkSource::Vmware(network));
    Metadata { hostname, addresses, network, notes, ..Metadata::default() }
}

struct Walk<'a, 'get> {
    get: &'a mut Get<'get>,
    /// How many keys may still be asked for.
    left: usize,
    network: BTreeMap<String, String>,
    addresses: Addresses,
    notes: Vec<String>,
}

impl Walk<'_, '_> {
    fn ask(&mut self, key: &str) -> Option<String> {
        self.left = self.left.checked_sub(1)?;
        (self.get)(key).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Asks for what describes the network.
    fn keep(&mut self, key: &str) -> Option<String> {
        let value = self.ask(key)?;
        self.network.insert(key.to_owned(), value.clone());
        Some(value)
    }

    /// Whether there is one of that number.
    fn interface(&mut self, number: usize) -> bool {
        let mut found = false;
        for key in ["name", "mac", "dhcp"] {
            found |= self.keep(&format!("interface.{number}.{key}")).is_some();
        }
        let role = self.ask(&format!("interface.{number}.role"));
        let side = match role.as_deref() {
            Some("public") => Some(Side::Public),
            Some("private") => Some(Side::Private),
            Some(role) => {
                self.notes.push(format!("unrecognized role: {role:?}"));
                None
            }
            None => None,
        };
        for place in 0..MAX_PROVIDER_KEYS {
            let key = format!("interface.{number}.ip.{place}.address");
            let Some(text) = self.keep(&key) else { break };
            found = true;
            match (Cidr::parse(&text), side) {
                (Some(cidr), Some(side)) => put(&mut self.addresses, side, cidr.address),
                (Some(_), None) => {}
                (None, _) => ignored(&key, "address with a prefix length", &mut self.notes),
            }
        }
        for place in 0..MAX_PROVIDER_KEYS {
            let route = format!("interface.{number}.route.{place}");
            let halves = ["gateway", "destination"].map(|key| self.keep(&format!("{route}.{key}")));
            if halves == [None, None] {
                break;
            }
            found = true;
        }
        found
    }
}

#[cfg(test)]
#[path = "vmware_tests.rs"]
mod tests;
