//! VMware: properties of the OVF environment, and guestinfo keys (contract 5.8).
//!
//! Keys are used without their prefix `guestinfo.`.

use std::collections::BTreeMap;

use roxmltree::Node;

use super::address::{Scope, set_address};
use super::{Malformed, PropertyLookup, decode_content, no_cloud, note_ignored, text, xml};
use crate::encoding::{ContentEncoding, DecodeError};
use crate::limits::MAX_PROVIDER_KEYS;
use crate::metadata::{Metadata, NetworkSource};
use crate::network::Cidr;
use crate::template::Addresses;

const PREFIX: &str = "guestinfo.";
/// Lookups of cloud-init's metadata: the value and its encoding.
const CLOUD_INIT_KEYS: usize = 2;

/// Reads the properties below `guestinfo.`; the last of several with the same key wins.
///
/// # Errors
/// The document is not valid XML.
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

/// Returns a property's value with its line breaks. XML normalizes literal line breaks in attributes to
/// blanks, but user-data is not escaped here.
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

/// The user-data, or its URL.
#[derive(Debug, PartialEq, Eq)]
pub enum UserData {
    /// Decoded; empty if there is none.
    Inline(Vec<u8>),
    /// To be downloaded and decoded.
    Url { url: String, encoding: ContentEncoding },
}

/// Returns the user-data.
///
/// # Errors
/// The encoding is unknown, or the content does not match it.
pub fn user_data(get: &mut PropertyLookup<'_>) -> Result<UserData, Malformed> {
    if let Some(data) = encoded(get, "coreos.config.data")? {
        return Ok(UserData::Inline(data));
    }
    if let Some(url) = non_empty(get, "coreos.config.url") {
        let encoding = encoding(get, "coreos.config.data")?;
        return Ok(UserData::Url { url: url.trim().to_owned(), encoding });
    }
    // cloud-init's key.
    Ok(UserData::Inline(encoded(get, "userdata")?.unwrap_or_default()))
}

fn non_empty(get: &mut PropertyLookup<'_>, key: &str) -> Option<String> {
    get(key).filter(|value| !value.is_empty())
}

/// The value of a key, decoded as the key with the suffix `.encoding` names.
fn encoded(get: &mut PropertyLookup<'_>, key: &str) -> Result<Option<Vec<u8>>, Malformed> {
    let Some(data) = non_empty(get, key) else { return Ok(None) };
    let encoding = encoding(get, key)?;
    decode_content(data.into_bytes(), encoding).map(Some)
}

fn encoding(get: &mut PropertyLookup<'_>, key: &str) -> Result<ContentEncoding, Malformed> {
    let name = non_empty(get, &format!("{key}.encoding")).unwrap_or_default();
    Ok(ContentEncoding::parse(name.trim()).ok_or(DecodeError::Unsupported(name))?)
}

/// Reads hostname, addresses and network description. What is not set is taken from cloud-init's key, `metadata`.
pub fn metadata(get: &mut PropertyLookup<'_>) -> Metadata {
    let mut notes = Vec::new();
    let fallback = encoded(get, "metadata").and_then(|text| no_cloud::metadata(&text.unwrap_or_default()));
    let fallback = fallback.unwrap_or_else(|error| {
        notes.push(format!("ignoring guestinfo.metadata: {error}"));
        Metadata::default()
    });
    notes.extend(fallback.notes.iter().cloned());
    let (network, addresses) = Default::default();
    let remaining = MAX_PROVIDER_KEYS - CLOUD_INIT_KEYS;
    let mut guest_info = GuestInfo { get, remaining, network, addresses, notes };
    let hostname = guest_info.lookup("hostname");
    for list in ["dns.server", "dns.domain"] {
        // Stops at the first missing index.
        (0..MAX_PROVIDER_KEYS).find(|number| guest_info.record(&format!("{list}.{number}")).is_none());
    }
    (0..MAX_PROVIDER_KEYS).find(|number| !guest_info.interface(*number));
    let GuestInfo { remaining, network, addresses, mut notes, .. } = guest_info;
    if remaining == 0 {
        notes.push(format!("at most {MAX_PROVIDER_KEYS} keys of guestinfo are read"));
    }
    let network = (!network.is_empty()).then_some(NetworkSource::Vmware(network));
    let (hostname, network) = (hostname.or(fallback.hostname), network.or(fallback.network));
    Metadata { hostname, addresses, network, notes, ..fallback }
}

struct GuestInfo<'a, 'get> {
    get: &'a mut PropertyLookup<'get>,
    /// Remaining lookups.
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

    /// Looks up a key and adds it to the network description.
    fn record(&mut self, key: &str) -> Option<String> {
        let value = self.lookup(key)?;
        self.network.insert(key.to_owned(), value.clone());
        Some(value)
    }

    /// Reads the interface `number`; returns whether it exists.
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
