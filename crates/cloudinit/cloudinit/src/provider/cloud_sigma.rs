//! CloudSigma: the server context, read from the serial console (contract 5.10).

use std::net::IpAddr;

use super::Malformed;
use super::address::{Scope, set_address};
use super::json::JsonDocument;
use crate::encoding::decode_base64;
use crate::metadata::Metadata;
use crate::template::Addresses;

const NAME: &str = "the server's context";
const USER_DATA: &str = "cloudinit-user-data";
/// Comma-separated names of the fields that are base64-encoded.
const BASE64_FIELDS: &str = "base64_fields";
const KEYS: &str = "ssh_public_key";

/// Looks up the local address of the interface with the given MAC address.
pub type LocalAddress<'a> = dyn FnMut(&str) -> Option<IpAddr> + 'a;

#[derive(Debug)]
pub struct Context(JsonDocument);

impl Context {
    /// Parses a server context.
    ///
    /// # Errors
    /// The document is not valid JSON, or not an object.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        JsonDocument::read_required(NAME, bytes).map(Self)
    }

    /// Returns the user-data; empty if there is none. A value of another type is noted in the metadata.
    ///
    /// # Errors
    /// The field is declared as base64, but is not valid.
    pub fn user_data(&self) -> Result<Vec<u8>, Malformed> {
        let mut document = self.0.clone();
        let data = meta(&mut document, USER_DATA);
        let encoded = meta(&mut document, BASE64_FIELDS);
        if encoded.split(',').map(str::trim).any(|name| name == USER_DATA) {
            let decoded =
                decode_base64(data.as_bytes()).map_err(|error| Malformed::from(error).in_document(NAME))?;
            return Ok(decoded.bytes);
        }
        Ok(data.into_bytes())
    }

    pub fn metadata(&self, local: &mut LocalAddress<'_>) -> Metadata {
        let mut document = self.0.clone();
        let mut text = |key_path: &str| document.text(key_path).filter(|text| !text.is_empty());
        let uuid = text("uuid");
        let hostname = text("name").or_else(|| uuid.clone());
        for field in [USER_DATA, BASE64_FIELDS] {
            meta(&mut document, field);
        }
        let text = meta(&mut document, KEYS);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        // Keys are named by their comment.
        let named = |key: &str| (key.rsplit(' ').next().unwrap_or_default().to_owned(), key.to_owned());
        let keys = lines.map(named).collect();
        let addresses = addresses(&mut document, local);
        let (_, notes) = document.into_parts();
        Metadata { hostname, keys, addresses, instance: uuid, network: None, notes }
    }
}

/// Reads a field that the server's owner may set; empty if unset.
fn meta(document: &mut JsonDocument, name: &str) -> String {
    document.text(&format!("meta.{name}")).unwrap_or_default()
}

/// The context contains the addresses of public interfaces; those in VLANs are looked up locally.
fn addresses(document: &mut JsonDocument, local: &mut LocalAddress<'_>) -> Addresses {
    let mut addresses = Addresses::default();
    for index in 0..document.length("nics") {
        let key_path = |name: &str| format!("nics.{index}.{name}");
        let public = document.ipv4(&key_path("ip_v4_conf.ip.uuid"));
        addresses.public_ipv4 = public.or(addresses.public_ipv4);
        let mut text = |name: &str| document.text(&key_path(name)).filter(|text| !text.is_empty());
        if text("vlan.uuid").is_some()
            && let Some(address) = text("mac").and_then(|mac| local(&mac)).filter(IpAddr::is_ipv4)
        {
            set_address(&mut addresses, Scope::Private, address);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a server in 2014, shortened.
    const CONTEXT: &str = r#"{
        "cpu": 2000, "global_context": {}, "mem": 4294967296, "name": "core-01", "smp": 1,
        "uuid": "20a0059b-041e-4d0c-bcc6-9b2852de48b3", "vnc_password": "hush",
        "meta": {
            "base64_fields": "cloudinit-user-data",
            "cloudinit-user-data": "I2Nsb3VkLWNvbmZpZwo=",
            "ssh_public_key": "ssh-ed25519 AAAA a@b.c"
        },
        "nics": [
            {"boot_order": null, "ip_v4_conf": {"conf": "dhcp", "ip": {"gateway": "31.171.244.1", "uuid": "31.171.251.74"}},
             "mac": "22:3d:09:6b:90:f3", "model": "virtio", "vlan": null},
            {"ip_v4_conf": null, "mac": "22:ae:4a:fb:8f:31", "vlan": {"uuid": "5d51fd2a-9fbd-4c7e-8d3b-0c7b6e4a7bd0"}}
        ]
    }"#;

    fn metadata_of(text: &str) -> Metadata {
        let mut local = |mac: &str| (mac == "22:ae:4a:fb:8f:31").then(|| IpAddr::from([10, 0, 0, 7]));
        Context::read(text.as_bytes()).unwrap().metadata(&mut local)
    }

    #[test]
    fn a_context() {
        let metadata = metadata_of(CONTEXT);
        let uuid = "20a0059b-041e-4d0c-bcc6-9b2852de48b3";
        assert_eq!(
            (metadata.hostname.as_deref(), metadata.instance.as_deref()),
            (Some("core-01"), Some(uuid))
        );
        assert_eq!(metadata.keys, [("a@b.c".to_owned(), "ssh-ed25519 AAAA a@b.c".to_owned())]);
        let public_ipv4 = Some("31.171.251.74".into());
        let private_ipv4 = Some("10.0.0.7".into());
        assert_eq!(metadata.addresses, Addresses { public_ipv4, private_ipv4, ..Addresses::default() });
        assert_eq!(metadata.notes, Vec::<String>::new());
        let context = |text: &str| Context::read(text.as_bytes()).unwrap().user_data();
        assert_eq!(context(CONTEXT).unwrap(), b"#cloud-config\n");
        let plain = CONTEXT.replace("base64_fields", "fields");
        assert_eq!(context(&plain).unwrap(), b"I2Nsb3VkLWNvbmZpZwo=");
        assert!(context(&CONTEXT.replace("I2Ns", "!!")).is_err());
        assert_eq!(context("{}").unwrap(), b"");
    }

    #[test]
    fn invalid_value_does_not_affect_others() {
        assert_eq!(metadata_of(&CONTEXT.replace("core-01", "")).hostname, metadata_of(CONTEXT).instance);
        let metadata = metadata_of(&CONTEXT.replace("\"core-01\"", "7").replace("31.171.251.74", "here"));
        assert_eq!(metadata.hostname, metadata.instance);
        assert_eq!(metadata.addresses.private_ipv4.as_deref(), Some("10.0.0.7"));
        assert_eq!(
            metadata.notes,
            [
                "ignoring name of the server's context, which is no text",
                "ignoring nics.0.ip_v4_conf.ip.uuid of the server's context, which is no IPv4 address",
            ]
        );
        for (odd, wrong) in [
            ("{\"meta\": [], \"nics\": {}}", &["meta", "nics"][..]),
            ("{\"nics\": [1, {\"mac\": 2, \"vlan\": {\"uuid\": \"x\"}}]}", &["nics.0", "nics.1.mac"]),
            ("{\"meta\": {\"cloudinit-user-data\": 3}}", &["meta.cloudinit-user-data"]),
        ] {
            let metadata = metadata_of(odd);
            let locations: Vec<_> = metadata.notes.iter().filter_map(|note| note.split(' ').nth(1)).collect();
            assert_eq!(locations, wrong);
            assert_eq!(metadata, Metadata { notes: metadata.notes.clone(), ..Metadata::default() });
        }
        let wrong = "the server's context is not valid: ";
        for (text, expect) in [
            ("[]", "it is no mapping"),
            ("{\"a\": hush}", "it is not JSON (line 1, column 7)"),
            ("", "it is not JSON (line 1, column 0)"),
        ] {
            let error = Context::read(text.as_bytes()).unwrap_err();
            let source = std::error::Error::source(&error).unwrap();
            assert_eq!(format!("{error}: {source}"), format!("{wrong}{expect}"));
        }
    }
}
