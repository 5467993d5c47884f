//! CloudSigma: the server's context, as its serial console gives it (contract 5.10).

use std::net::IpAddr;

use serde_json::Value;

use super::{Malformed, ignored};
use crate::encoding::decode_base64;
use crate::metadata::Metadata;
use crate::template::Addresses;

const USER_DATA: &str = "cloudinit-user-data";
/// Which of the fields beside it are base64, with commas between them.
const BASE64_FIELDS: &str = "base64_fields";
const KEYS: &str = "ssh_public_key";

/// Gives the address of the interface with that MAC, `None` where there is none.
pub type LocalAddress<'a> = dyn FnMut(&str) -> Option<IpAddr> + 'a;

/// A server's context.
#[derive(Debug)]
pub struct Context(Value);

impl Context {
    /// # Errors
    /// It is no JSON, or no object.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let value: Value = serde_json::from_slice(bytes)?;
        if value.is_object() { Ok(Self(value)) } else { Err(Malformed::NoMapping) }
    }

    fn meta(&self, name: &str) -> Option<&str> {
        self.0.get("meta")?.get(name)?.as_str()
    }

    /// Empty where there is none.
    ///
    /// # Errors
    /// It is said to be base64, and is not.
    pub fn user_data(&self) -> Result<Vec<u8>, Malformed> {
        let data = self.meta(USER_DATA).unwrap_or_default();
        let mut encoded = self.meta(BASE64_FIELDS).unwrap_or_default().split(',').map(str::trim);
        if encoded.any(|name| name == USER_DATA) {
            return Ok(decode_base64(data.as_bytes())?.bytes);
        }
        Ok(data.as_bytes().to_vec())
    }

    pub fn metadata(&self, local: &mut LocalAddress<'_>) -> Metadata {
        let mut notes = Vec::new();
        let uuid = self.text("uuid", &mut notes);
        let hostname = self.text("name", &mut notes).or_else(|| uuid.clone());
        let lines =
            self.meta(KEYS).unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty());
        // By their comments.
        let named = |key: &str| (key.rsplit(' ').next().unwrap_or_default().to_owned(), key.to_owned());
        let keys = lines.map(named).collect();
        let addresses = self.addresses(local, &mut notes);
        Metadata { hostname, keys, addresses, instance: uuid, network: None, notes }
    }

    fn text(&self, key: &str, notes: &mut Vec<String>) -> Option<String> {
        let value = self.0.get(key).filter(|value| !value.is_null())?;
        if !value.is_string() {
            ignored(&format!("{key} of the server's context"), "text", notes);
        }
        value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// An interface in the internet says its address; one in a VLAN has that which the machine gave it.
    fn addresses(&self, local: &mut LocalAddress<'_>, notes: &mut Vec<String>) -> Addresses {
        let mut addresses = Addresses::default();
        for nic in self.0.get("nics").and_then(Value::as_array).into_iter().flatten() {
            let text = |path: &str| nic.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
            match text("/ip_v4_conf/ip/uuid").map(str::parse::<IpAddr>) {
                Some(Ok(IpAddr::V4(address))) => addresses.public_ipv4 = Some(address.to_string()),
                Some(_) => ignored("address of a nic in the server's context", "IPv4 address", notes),
                None => {}
            }
            if text("/vlan/uuid").is_some()
                && let Some(IpAddr::V4(address)) = text("/mac").and_then(&mut *local)
            {
                addresses.private_ipv4 = Some(address.to_string());
            }
        }
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server of 2014 had it, shortened.
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
    fn a_wrong_value_does_not_cost_the_others() {
        assert_eq!(metadata_of(&CONTEXT.replace("core-01", "")).hostname, metadata_of(CONTEXT).instance);
        let metadata = metadata_of(&CONTEXT.replace("\"core-01\"", "7").replace("31.171.251.74", "here"));
        assert_eq!(metadata.hostname, metadata.instance);
        assert_eq!(metadata.addresses.private_ipv4.as_deref(), Some("10.0.0.7"));
        assert_eq!(
            metadata.notes,
            [
                "ignoring name of the server's context, which is no text",
                "ignoring address of a nic in the server's context, which is no IPv4 address",
            ]
        );
        for odd in
            ["{\"meta\": [], \"nics\": {}}", "{\"nics\": [1, {\"mac\": 2, \"vlan\": {\"uuid\": \"x\"}}]}"]
        {
            assert_eq!(metadata_of(odd), Metadata::default());
        }
        for (text, expect) in
            [("[]", "it is no mapping"), ("{\"a\": hush}", "it is not JSON (line 1, column 7)")]
        {
            assert_eq!(Context::read(text.as_bytes()).unwrap_err().to_string(), expect);
        }
    }
}
