//! Azure's instance metadata service, which provides everything in one document (contract 5.9).

use super::error::Malformed;
use super::json::JsonDocument;
use crate::encoding::decode_base64;
use crate::metadata::Metadata;
use crate::template::Addresses;

const NAME: &str = "metadata/instance";

/// Returns the custom data, or the newer user data if there is no custom data; empty if there is neither.
///
/// # Errors
/// The document is not valid JSON, or its value is not valid base64.
pub fn user_data(document: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut document = JsonDocument::read(NAME, document)?;
    for (key_path, what) in [("compute.customData", "customData"), ("compute.userData", "userData")] {
        if let Some(text) = document.text(key_path).filter(|text| !text.trim().is_empty()) {
            let decoded =
                decode_base64(text.as_bytes()).map_err(|error| Malformed::from(error).in_document(what))?;
            return Ok(decoded.bytes);
        }
    }
    Ok(Vec::new())
}

/// Reads the metadata.
///
/// # Errors
/// The document is not valid JSON.
pub fn metadata(document: &[u8]) -> Result<Metadata, Malformed> {
    let mut document = JsonDocument::read(NAME, document)?;
    let keys = document.length("compute.publicKeys");
    let keys = (0..keys)
        .filter_map(|index| {
            Some((index.to_string(), document.text(&format!("compute.publicKeys.{index}.keyData"))?))
        })
        .collect();
    let addresses = Addresses {
        public_ipv4: document.ipv4("network.interface.0.ipv4.ipAddress.0.publicIpAddress"),
        public_ipv6: document.ipv6("network.interface.0.ipv6.ipAddress.0.publicIpAddress"),
        private_ipv4: document.ipv4("network.interface.0.ipv4.ipAddress.0.privateIpAddress"),
        private_ipv6: document.ipv6("network.interface.0.ipv6.ipAddress.0.privateIpAddress"),
    };
    let name = document.text("compute.osProfile.computerName").filter(|name| !name.is_empty());
    let hostname = name.or_else(|| document.text("compute.name"));
    let instance = document.text("compute.vmId");
    let (_, notes) = document.into_parts();
    Ok(Metadata { hostname, keys, addresses, instance, network: None, notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response of the service, without unused fields.
    const MACHINE: &str = r##"{
        "compute": {
            "azEnvironment": "AzurePublicCloud", "customData": "I2Nsb3VkLWNvbmZpZwo=", "name": "vm-resource",
            "osProfile": {"adminUsername": "core", "computerName": "node-1"},
            "publicKeys": [{"keyData": "ssh-rsa A\r\n", "path": "/home/core/.ssh/authorized_keys"}],
            "userData": "IyEvYmluL3NoCg==", "vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6"
        },
        "network": {"interface": [{
            "ipv4": {"ipAddress": [{"privateIpAddress": "10.144.133.132", "publicIpAddress": ""}],
                     "subnet": [{"address": "10.144.133.128", "prefix": "26"}]},
            "ipv6": {"ipAddress": [{"privateIpAddress": "fd00::4"}]},
            "macAddress": "0011AAFFBB22"
        }]}
    }"##;

    #[test]
    fn a_machine() {
        let metadata = metadata(MACHINE.as_bytes()).unwrap();
        assert_eq!(metadata.hostname.as_deref(), Some("node-1"));
        assert_eq!(metadata.instance.as_deref(), Some("02aab8a4-74ef-476e-8182-f6d2ba4166a6"));
        assert_eq!(metadata.sorted_keys(), ["ssh-rsa A"]);
        let addresses = Addresses {
            private_ipv4: Some("10.144.133.132".into()),
            private_ipv6: Some("fd00::4".into()),
            ..Addresses::default()
        };
        assert_eq!((metadata.addresses, metadata.notes), (addresses, vec![]));
        assert_eq!(super::metadata(b"").unwrap(), Metadata::default());
        let unnamed = MACHINE.replace("node-1", "");
        assert_eq!(super::metadata(unnamed.as_bytes()).unwrap().hostname.as_deref(), Some("vm-resource"));
    }

    #[test]
    fn user_data_is_base64() {
        assert_eq!(user_data(MACHINE.as_bytes()).unwrap(), b"#cloud-config\n");
        let newer = MACHINE.replace("I2Nsb3VkLWNvbmZpZwo=", "");
        assert_eq!(user_data(newer.as_bytes()).unwrap(), b"#!/bin/sh\n");
        let neither = newer.replace("IyEvYmluL3NoCg==", "");
        assert_eq!(user_data(neither.as_bytes()).unwrap(), b"");
        let broken = MACHINE.replace("I2Nsb3VkLWNvbmZpZwo=", "#cloud-config");
        assert_eq!(user_data(broken.as_bytes()).unwrap_err().to_string(), "customData is not valid");
        assert!(user_data(b"<html>").is_err());
    }
}
