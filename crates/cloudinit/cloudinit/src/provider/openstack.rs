//! OpenStack's `meta_data.json` and `network_data.json`, on a config drive or from the metadata service
//! (contract 5.4).

use std::net::Ipv4Addr;

use serde_json::Value;

use super::address;
use super::error::Malformed;
use super::json::JsonDocument;
use crate::metadata::{Metadata, NetworkSource};
use crate::template::Addresses;

/// Relative to the config drive, or to the service's URL.
pub const USER_DATA: &str = "openstack/latest/user_data";
pub const META_DATA: &str = "openstack/latest/meta_data.json";
pub const NETWORK_DATA: &str = "openstack/latest/network_data.json";
const CONTENT_DIRECTORY: &str = "openstack";

/// `meta_data.json`, which may refer to another file to read.
pub struct MetaData(JsonDocument);

impl MetaData {
    /// Parses `meta_data.json`.
    ///
    /// # Errors
    /// The document is not valid JSON.
    pub fn read(document: &[u8]) -> Result<Self, Malformed> {
        JsonDocument::read(META_DATA, document).map(Self)
    }

    /// Returns the path of the network description in Debian's format, relative to the config drive or the
    /// service's URL.
    pub fn network_config(&mut self) -> Option<String> {
        let key_path = "network_config.content_path";
        let path = self.0.text(key_path).filter(|path| !path.is_empty())?;
        let path = path.trim_start_matches('/');
        let is_part = |part: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            !matches!(part, "" | "." | "..") && part.bytes().all(plain)
        };
        if !path.split('/').all(is_part) {
            self.0.ignore(key_path, "path below openstack");
            return None;
        }
        Some(format!("{CONTENT_DIRECTORY}/{path}"))
    }

    /// Converts to metadata, with the contents of `network_data.json` and of the file named by
    /// [`Self::network_config`]; empty if they do not exist.
    ///
    /// # Errors
    /// `network_data.json` is not valid JSON.
    pub fn metadata(self, network_data: &[u8], network_config: &[u8]) -> Result<Metadata, Malformed> {
        let Self(mut meta) = self;
        let network = JsonDocument::read(NETWORK_DATA, network_data)?;
        let hostname = meta.text("hostname");
        let instance = meta.text("uuid");
        let keys = public_keys(&mut meta);
        let (_, mut notes) = meta.into_parts();
        let (address, network) = read_network(network, network_config, &mut notes);
        let addresses =
            Addresses { private_ipv4: address.clone(), public_ipv4: address, ..Addresses::default() };
        Ok(Metadata { hostname, keys, addresses, instance, network, notes })
    }
}

fn public_keys(meta: &mut JsonDocument) -> Vec<(String, String)> {
    let key_path = "public_keys";
    let mut keys = Vec::new();
    for name in meta.keys(key_path) {
        match meta.member(key_path, &name).and_then(Value::as_str).map(str::to_owned) {
            Some(key) => keys.push((name, key)),
            None => meta.ignore(&format!("key {name:?} in {key_path}"), "text"),
        }
    }
    keys
}

/// Returns the first address, and the source for `-convert-netconf`: Debian's format is preferred.
fn read_network(
    mut document: JsonDocument,
    config: &[u8],
    notes: &mut Vec<String>,
) -> (Option<String>, Option<NetworkSource>) {
    let address = first_ipv4(&mut document);
    let is_empty = document.is_empty();
    let (root, network_notes) = document.into_parts();
    notes.extend(network_notes);
    let described = (!is_empty).then_some(NetworkSource::OpenStack(root));
    if config.is_empty() {
        return (address, described);
    }
    match String::from_utf8(config.to_vec()) {
        Ok(config) => (address, Some(NetworkSource::Debian(config))),
        Err(_) => {
            notes.push("ignoring network_config, which is no text".to_owned());
            (address, described)
        }
    }
}

/// A prefix length after the address is dropped.
fn first_ipv4(document: &mut JsonDocument) -> Option<String> {
    for index in 0..document.length("networks") {
        let network = format!("networks.{index}");
        if document.member(&network, "type").and_then(Value::as_str) != Some("ipv4") {
            continue;
        }
        let Some(value) = document.member(&network, "ip_address").filter(|value| !value.is_null()) else {
            continue;
        };
        let address = value.as_str().and_then(|text| text.split('/').next());
        match address.map(address::read::<Ipv4Addr>) {
            Some(Ok(Some(address))) => return Some(address.to_string()),
            _ => document.ignore("an ip_address", "IPv4 address"),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &str = r#"{"uuid": "i-1", "hostname": "core-01", "public_keys": {"b": "k2", "a": "k1"}, "more": [1],
        "network_config": {"name": "network_config", "content_path": "/content/0000"}}"#;
    const NETWORK: &str = r#"{"links": [], "networks": [{"type": "ipv4_dhcp"}, {"type": "ipv4", "ip_address": "10.0.0.7/24"}]}"#;

    fn metadata(meta: &str, network: &str) -> Result<Metadata, Malformed> {
        MetaData::read(meta.as_bytes())?.metadata(network.as_bytes(), b"")
    }

    #[test]
    fn an_instance() {
        let metadata = metadata(META, NETWORK).unwrap();
        assert_eq!(metadata.hostname.as_deref(), Some("core-01"));
        assert_eq!(metadata.instance.as_deref(), Some("i-1"));
        assert_eq!(metadata.sorted_keys(), ["k1", "k2"]);
        assert_eq!(metadata.addresses.private_ipv4.as_deref(), Some("10.0.0.7"));
        assert_eq!(metadata.addresses.public_ipv4.as_deref(), Some("10.0.0.7"));
        let whole = serde_json::from_str(NETWORK).unwrap();
        assert_eq!((metadata.network, metadata.notes), (Some(NetworkSource::OpenStack(whole)), vec![]));
        assert_eq!(super::tests::metadata("", "").unwrap(), Metadata::default());
        assert!(matches!(super::tests::metadata("{", ""), Err(Malformed::In { .. })));
        assert!(matches!(super::tests::metadata("", "{"), Err(Malformed::In { .. })));
    }

    #[test]
    fn debian_network_description() {
        let mut meta = MetaData::read(META.as_bytes()).unwrap();
        assert_eq!(meta.network_config().as_deref(), Some("openstack/content/0000"));
        let metadata = meta.metadata(NETWORK.as_bytes(), b"auto eth0\n").unwrap();
        assert_eq!(metadata.network, Some(NetworkSource::Debian("auto eth0\n".into())));
        let metadata = MetaData::read(b"").unwrap().metadata(NETWORK.as_bytes(), b"\xff").unwrap();
        assert!(matches!(metadata.network, Some(NetworkSource::OpenStack(_))));
        assert_eq!(metadata.notes, ["ignoring network_config, which is no text"]);
        for path in ["../../etc/shadow", "/content/../../x", "/a b", "http://h/x", "/a?b", "/"] {
            let mut meta = MetaData::read(META.replace("/content/0000", path).as_bytes()).unwrap();
            assert_eq!(meta.network_config(), None, "{path}");
            assert_eq!(meta.metadata(b"", b"").unwrap().notes.len(), 1, "{path}");
        }
    }

    #[test]
    fn invalid_value_does_not_affect_others() {
        let meta = r#"{"uuid": 7, "hostname": "a", "public_keys": {"x": 1, "y": "k", "z": null}}"#;
        let bad = r#"{"type": "ipv4", "ip_address": 3}"#;
        let good = r#"{"type": "ipv4", "ip_address": "10.0.0.7"}"#;
        let metadata = metadata(meta, &format!(r#"{{"networks": ["x", {bad}, {good}]}}"#)).unwrap();
        assert_eq!((metadata.hostname.as_deref(), metadata.instance.as_deref()), (Some("a"), None));
        assert_eq!(metadata.sorted_keys(), ["k"]);
        assert_eq!(metadata.addresses.private_ipv4.as_deref(), Some("10.0.0.7"));
        assert_eq!(
            metadata.notes,
            [
                "ignoring uuid of openstack/latest/meta_data.json, which is no text",
                "ignoring key \"x\" in public_keys of openstack/latest/meta_data.json, which is no text",
                "ignoring key \"z\" in public_keys of openstack/latest/meta_data.json, which is no text",
                "ignoring an ip_address of openstack/latest/network_data.json, which is no IPv4 address",
            ]
        );
        let keys = super::tests::metadata(r#"{"hostname": "a", "public_keys": ["k"]}"#, "").unwrap();
        assert_eq!((keys.hostname.as_deref(), keys.notes.len()), (Some("a"), 1));
        let metadata = super::tests::metadata("[]", "3").unwrap();
        assert_eq!((metadata.hostname, metadata.network, metadata.notes.len()), (None, None, 2));
    }
}
