//! Packet's `metadata` (contract 5.7).

use super::error::Malformed;
use super::json::JsonDocument;
use crate::metadata::{Metadata, NetworkSource};
use crate::template::Addresses;

const NAME: &str = "metadata";

/// Reads the metadata.
///
/// # Errors
/// The document is not valid JSON.
pub fn metadata(document: &[u8]) -> Result<Metadata, Malformed> {
    let mut document = JsonDocument::read(NAME, document)?;
    let keys = document.length("ssh_keys");
    let keys = (0..keys)
        .filter_map(|index| Some((index.to_string(), document.text(&format!("ssh_keys.{index}"))?)))
        .collect();
    let addresses = addresses(&mut document);
    let hostname = document.text("hostname");
    let instance = document.text_or_number("id");
    let is_empty = document.is_empty();
    let (root, notes) = document.into_parts();
    let network = (!is_empty).then_some(NetworkSource::Packet(root));
    Ok(Metadata { hostname, keys, addresses, instance, network, notes })
}

/// The last address of each kind wins. IPv6 addresses are always public.
fn addresses(document: &mut JsonDocument) -> Addresses {
    let mut addresses = Addresses::default();
    for index in 0..document.length("network.addresses") {
        let key_path = |name: &str| format!("network.addresses.{index}.{name}");
        let address = key_path("address");
        match document.text_or_number(&key_path("address_family")).as_deref() {
            Some("4") => {
                let is_public = document.is_true(&key_path("public"));
                let Some(address) = document.ipv4(&address) else { continue };
                let kind = if is_public { &mut addresses.public_ipv4 } else { &mut addresses.private_ipv4 };
                *kind = Some(address);
            }
            Some("6") => addresses.public_ipv6 = document.ipv6(&address).or(addresses.public_ipv6),
            _ => document.ignore(&key_path("address_family"), "4 or 6"),
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response of the service, without unused fields.
    const SERVER: &str = r#"{
        "id": "4c5a0a0b", "hostname": "node-1", "iqn": "x", "plan": "t1.small", "facility": "ewr1",
        "ssh_keys": ["ssh-rsa A", "ssh-rsa B"],
        "network": {
            "bonding": {"mode": 4},
            "interfaces": [{"name": "eth0", "mac": "0c:c4:7a:e5:42:d2", "bond": "bond0"}],
            "addresses": [
                {"id": "1", "address_family": 4, "netmask": "255.255.255.254", "public": true, "cidr": 31,
                 "management": true, "network": "147.75.1.0", "address": "147.75.1.1", "gateway": "147.75.1.0"},
                {"id": "2", "address_family": 6, "public": true, "cidr": 127, "address": "2604:1380:1:2::3"},
                {"id": "3", "address_family": 4, "public": false, "cidr": 31, "address": "10.99.0.1"},
                {"id": "4", "address_family": 4, "public": false, "cidr": 31, "address": "10.99.0.2"},
                {"id": "5", "address_family": 6, "public": false, "cidr": 127, "address": "fd00::5"}
            ]
        }
    }"#;

    #[test]
    fn a_server() {
        let metadata = metadata(SERVER.as_bytes()).unwrap();
        assert_eq!(metadata.hostname.as_deref(), Some("node-1"));
        assert_eq!(metadata.instance.as_deref(), Some("4c5a0a0b"));
        assert_eq!(metadata.sorted_keys(), ["ssh-rsa A", "ssh-rsa B"]);
        let addresses = Addresses {
            public_ipv4: Some("147.75.1.1".into()),
            public_ipv6: Some("fd00::5".into()),
            private_ipv4: Some("10.99.0.2".into()),
            private_ipv6: None,
        };
        assert_eq!((metadata.addresses, metadata.notes), (addresses, vec![]));
        let whole = serde_json::from_str(SERVER).unwrap();
        assert_eq!(metadata.network, Some(NetworkSource::Packet(whole)));
        assert_eq!(super::metadata(b"{}").unwrap(), Metadata::default());
        assert!(super::metadata(b"{").is_err());
    }

    #[test]
    fn invalid_value_does_not_affect_others() {
        let document = br#"{"hostname": "a", "ssh_keys": "k", "network": {"addresses": [
            {"address_family": 4, "public": true, "address": "fd00::1"}, {"address_family": 5}, 3,
            {"address_family": 6, "address": "fd00::1"}, {"address_family": 6, "address": "x"}]}}"#;
        let metadata = metadata(document).unwrap();
        assert_eq!(metadata.hostname.as_deref(), Some("a"));
        assert_eq!(metadata.addresses.public_ipv6.as_deref(), Some("fd00::1"));
        assert_eq!(
            metadata.notes,
            [
                "ignoring ssh_keys of metadata, which is no list",
                "ignoring network.addresses.0.address of metadata, which is no IPv4 address",
                "ignoring network.addresses.1.address_family of metadata, which is no 4 or 6",
                "ignoring network.addresses.2 of metadata, which is no object",
                "ignoring network.addresses.2.address_family of metadata, which is no 4 or 6",
                "ignoring network.addresses.4.address of metadata, which is no IPv6 address",
            ]
        );
    }
}
