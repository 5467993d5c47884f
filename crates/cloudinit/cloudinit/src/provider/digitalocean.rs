//! DigitalOcean's `metadata/v1.json` (contract 5.7).

use super::error::Malformed;
use super::json::JsonDocument;
use crate::metadata::Metadata;
use crate::template::Addresses;

const NAME: &str = "metadata/v1.json";

/// Reads the metadata.
///
/// # Errors
/// The document is not valid JSON.
pub fn metadata(document: &[u8]) -> Result<Metadata, Malformed> {
    let mut document = JsonDocument::read(NAME, document)?;
    let keys = document.length("public_keys");
    let keys = (0..keys)
        .filter_map(|index| Some((index.to_string(), document.text(&format!("public_keys.{index}"))?)))
        .collect();
    let addresses = Addresses {
        public_ipv4: document.ipv4("interfaces.public.0.ipv4.ip_address"),
        public_ipv6: document.ipv6("interfaces.public.0.ipv6.ip_address"),
        private_ipv4: document.ipv4("interfaces.private.0.ipv4.ip_address"),
        private_ipv6: document.ipv6("interfaces.private.0.ipv6.ip_address"),
    };
    let hostname = document.text("hostname");
    let instance = document.text_or_number("droplet_id");
    let (_, notes) = document.into_parts();
    Ok(Metadata { hostname, keys, addresses, instance, network: None, notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response of the service, without unused fields.
    const DROPLET: &str = r#"{
        "droplet_id": 2756294, "hostname": "sample-droplet", "vendor_data": "x", "region": "nyc3",
        "public_keys": ["ssh-rsa A", "ssh-rsa B"],
        "interfaces": {
            "private": [{"ipv4": {"ip_address": "10.132.255.113", "netmask": "255.255.0.0", "gateway": "10.132.0.1"},
                         "mac": "04:01:2a:0f:2a:02", "type": "private"}],
            "public": [{"ipv4": {"ip_address": "104.131.20.105", "netmask": "255.255.192.0", "gateway": "104.131.0.1"},
                        "ipv6": {"ip_address": "2604:A880:0800:0010:0000:0000:017D:2001", "cidr": 64},
                        "mac": "04:01:2a:0f:2a:01", "type": "public"}]
        },
        "floating_ip": {"ipv4": {"active": false}}, "dns": {"nameservers": ["8.8.4.4"]}
    }"#;

    #[test]
    fn a_droplet() {
        let metadata = metadata(DROPLET.as_bytes()).unwrap();
        assert_eq!(metadata.hostname.as_deref(), Some("sample-droplet"));
        assert_eq!(metadata.instance.as_deref(), Some("2756294"));
        assert_eq!(metadata.keys, [("0".into(), "ssh-rsa A".into()), ("1".into(), "ssh-rsa B".into())]);
        let addresses = Addresses {
            public_ipv4: Some("104.131.20.105".into()),
            public_ipv6: Some("2604:a880:800:10::17d:2001".into()),
            private_ipv4: Some("10.132.255.113".into()),
            private_ipv6: None,
        };
        assert_eq!((metadata.addresses, metadata.notes), (addresses, vec![]));
        assert_eq!(super::metadata(b"").unwrap(), Metadata::default());
        assert_eq!(super::metadata(b"<html>").unwrap_err().to_string(), "metadata/v1.json is not valid");
    }

    #[test]
    fn invalid_value_does_not_affect_others() {
        let document =
            br#"{"hostname": 3, "public_keys": ["a", {}, "c"], "interfaces": {"public": {}, "private": [
            {"ipv4": {"ip_address": "10.0.0.1"}, "ipv6": {"ip_address": "x"}}]}}"#;
        let metadata = metadata(document).unwrap();
        assert_eq!(metadata.sorted_keys(), ["a", "c"]);
        assert_eq!(metadata.addresses.private_ipv4.as_deref(), Some("10.0.0.1"));
        assert_eq!(
            metadata.notes,
            [
                "ignoring public_keys.1 of metadata/v1.json, which is no text",
                "ignoring interfaces.public of metadata/v1.json, which is no list",
                "ignoring interfaces.private.0.ipv6.ip_address of metadata/v1.json, which is no IPv6 address",
                "ignoring hostname of metadata/v1.json, which is no text",
            ]
        );
    }
}
