//! VMware: the properties of a virtual machine's OVF environment, and the same keys below `guestinfo.` (contract 5.8).
//!
//! Keys are named without `guestinfo.`.

use std::collections::BTreeMap;

use roxmltree::Node;

use super::address::{Scope, set_address};
use super::{Malformed, PropertyLookup, decode_content, note_ignored, text, xml};
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
    let raw = &text[found.range_value()];
    if !raw.contains(['\n', '\t']) {
        return Ok(Some(found.value().to_owned()));
    }
    let quote = if raw.contains('"') { '\'' } else { '"' };
    let raw = raw.replace("\r\n", "\n").replace('\n', "&#10;").replace('\t', "&#9;");
    let element = format!("<a value={quote}{raw}{quote}/>");
    let element = xml::parse(&element)?;
    Ok(element.root_element().attribute("value").map(str::to_owned))
}

/// Where the user-data is, or the user-data itself.
#[derive(Debug, PartialEq, Eq)]
pub enum UserData {
    /// Decoded; empty where there is none.
    Inline(Vec<u8>),
    /// To be downloaded, and then decoded.
    Url { url: String, encoding: ContentEncoding },
}

/// # Errors
/// It is not what its encoding says, or that is none.
pub fn user_data(get: &mut PropertyLookup<'_>) -> Result<UserData, Malformed> {
    let mut non_empty = |key: &str| get(key).filter(|value| !value.is_empty());
    let data = non_empty("coreos.config.data");
    let url = if data.is_none() { non_empty("coreos.config.url") } else { None };
    if data.is_none() && url.is_none() {
        return Ok(UserData::Inline(Vec::new()));
    }
    let name = non_empty("coreos.config.data.encoding").unwrap_or_default();
    let encoding = ContentEncoding::parse(name.trim()).ok_or(DecodeError::Unsupported(name))?;
    match url {
        Some(url) => Ok(UserData::Url { url: url.trim().to_owned(), encoding }),
        None => Ok(UserData::Inline(decode_content(data.unwrap_or_default().into_bytes(), encoding)?)),
    }
}

/// Name, addresses, and what describes the network.
pub fn metadata(get: &mut PropertyLookup<'_>) -> Metadata {
    let (network, addresses, notes) = Default::default();
    let mut guest_info = GuestInfo { get, remaining: MAX_PROVIDER_KEYS, network, addresses, notes };
    let hostname = guest_info.lookup("hostname");
    for list in ["dns.server", "dns.domain"] {
        // Ends with the first that is not there.
        (0..MAX_PROVIDER_KEYS).find(|number| guest_info.record(&format!("{list}.{number}")).is_none());
    }
    (0..MAX_PROVIDER_KEYS).find(|number| !guest_info.interface(*number));
    let GuestInfo { remaining, network, addresses, mut notes, .. } = guest_info;
    if remaining == 0 {
        notes.push(format!("no more than {MAX_PROVIDER_KEYS} keys of guestinfo are asked for"));
    }
    let network = (!network.is_empty()).then_some(NetworkSource::Vmware(network));
    Metadata { hostname, addresses, network, notes, ..Metadata::default() }
}

struct GuestInfo<'a, 'get> {
    get: &'a mut PropertyLookup<'get>,
    /// How many keys may still be asked for.
    remaining: usize,
    network: BTreeMap<String, String>,
    addresses: Addresses,
    notes: Vec<String>,
}

impl GuestInfo<'_, '_> {
    fn lookup(&mut self, key: &str) -> Option<String> {
        self.remaining = self.remaining.checked_sub(1)?;
        (self.get)(key).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Asks for what describes the network.
    fn record(&mut self, key: &str) -> Option<String> {
        let value = self.lookup(key)?;
        self.network.insert(key.to_owned(), value.clone());
        Some(value)
    }

    /// Whether there is one of that number.
    fn interface(&mut self, number: usize) -> bool {
        let mut found = false;
        for key in ["name", "mac", "dhcp"] {
            found |= self.record(&format!("interface.{number}.{key}")).is_some();
        }
        let role = self.lookup(&format!("interface.{number}.role"));
        let scope = match role.as_deref() {
            Some("public") => Some(Scope::Public),
            Some("private") => Some(Scope::Private),
            Some(role) => {
                self.notes.push(format!("unrecognized role: {role:?}"));
                None
            }
            None => None,
        };
        for index in 0..MAX_PROVIDER_KEYS {
            let key = format!("interface.{number}.ip.{index}.address");
            let Some(text) = self.record(&key) else { break };
            found = true;
            match (Cidr::parse(&text), scope) {
                (Some(cidr), Some(scope)) => set_address(&mut self.addresses, scope, cidr.address),
                (Some(_), None) => {}
                (None, _) => note_ignored(&key, "address with a prefix length", &mut self.notes),
            }
        }
        for index in 0..MAX_PROVIDER_KEYS {
            let route = format!("interface.{number}.route.{index}");
            let halves = ["gateway", "destination"].map(|key| self.record(&format!("{route}.{key}")));
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
