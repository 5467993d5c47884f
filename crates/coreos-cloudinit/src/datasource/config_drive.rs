//! OpenStack's config drive, as a mounted directory (contract 5.4).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use cloudinit::metadata::Metadata;
use cloudinit::template::Addresses;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{DatasourceError, local};

const USER_DATA: &str = "openstack/latest/user_data";
const META_DATA: &str = "openstack/latest/meta_data.json";
const NETWORK_DATA: &str = "openstack/latest/network_data.json";

#[derive(Deserialize, Default)]
#[serde(default)]
struct MetaData {
    hostname: Option<String>,
    uuid: Option<String>,
    public_keys: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NetworkData {
    networks: Vec<Network>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Network {
    #[serde(rename = "type")]
    kind: String,
    ip_address: Option<String>,
}

pub(super) fn user_data(drive: &Path) -> Result<Vec<u8>, DatasourceError> {
    Ok(local::optional(&drive.join(USER_DATA))?.unwrap_or_default())
}

pub(super) fn metadata(drive: &Path) -> Result<Metadata, DatasourceError> {
    let meta: MetaData = json(&drive.join(META_DATA))?;
    let network: NetworkData = json(&drive.join(NETWORK_DATA))?;
    let address = first_ipv4(&network);
    Ok(Metadata {
        hostname: meta.hostname,
        keys: meta.public_keys.into_iter().collect(),
        addresses: Addresses { private_ipv4: address.clone(), public_ipv4: address, ..Addresses::default() },
        instance: meta.uuid,
    })
}

/// A missing file is as an empty one.
fn json<T: DeserializeOwned + Default>(path: &Path) -> Result<T, DatasourceError> {
    let Some(content) = local::optional(path)? else { return Ok(T::default()) };
    serde_json::from_slice(&content).map_err(|source| DatasourceError::Json { path: path.into(), source })
}

/// A prefix length after the address is cut off.
fn first_ipv4(data: &NetworkData) -> Option<String> {
    data.networks.iter().filter(|network| network.kind == "ipv4").find_map(|network| {
        let text = network.ip_address.as_deref()?;
        let address: Ipv4Addr = text.split('/').next()?.parse().ok()?;
        Some(address.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(metadata(folder.path()).unwrap(), Metadata::default());
        assert_eq!(user_data(folder.path()).unwrap(), b"");
        let latest = folder.path().join("openstack/latest");
        std::fs::create_dir_all(&latest).unwrap();
        std::fs::write(latest.join("user_data"), "#cloud-config\n").unwrap();
        std::fs::write(
            latest.join("meta_data.json"),
            r#"{"uuid": "i-1", "hostname": "core-01", "public_keys": {"b": "k2", "a": "k1"}, "more": [1]}"#,
        )
        .unwrap();
        std::fs::write(
            latest.join("network_data.json"),
            r#"{"links": [], "networks": [{"type": "ipv4_dhcp"}, {"type": "ipv4", "ip_address": "10.0.0.7/24"}]}"#,
        )
        .unwrap();
        let metadata = super::metadata(folder.path()).unwrap();
        assert_eq!(metadata.hostname.as_deref(), Some("core-01"));
        assert_eq!(metadata.instance.as_deref(), Some("i-1"));
        assert_eq!(metadata.sorted_keys(), ["k1", "k2"]);
        assert_eq!(metadata.addresses.private_ipv4.as_deref(), Some("10.0.0.7"));
        assert_eq!(metadata.addresses.public_ipv4.as_deref(), Some("10.0.0.7"));
        assert_eq!(user_data(folder.path()).unwrap(), b"#cloud-config\n");
        std::fs::write(latest.join("meta_data.json"), "{").unwrap();
        assert!(matches!(super::metadata(folder.path()), Err(DatasourceError::Json { .. })));
    }
}
