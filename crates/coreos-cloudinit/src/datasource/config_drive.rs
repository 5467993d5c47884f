//! OpenStack's config drive, as a mounted directory (contract 5.4).

use std::net::Ipv4Addr;
use std::path::Path;

use cloudinit::metadata::Metadata;
use cloudinit::template::Addresses;
use serde_json::Value;

use super::error::DatasourceError;
use super::local;

const USER_DATA: &str = "openstack/latest/user_data";
const META_DATA: &str = "openstack/latest/meta_data.json";
const NETWORK_DATA: &str = "openstack/latest/network_data.json";

pub(super) fn user_data(drive: &Path) -> Result<Vec<u8>, DatasourceError> {
    Ok(local::optional(&drive.join(USER_DATA))?.unwrap_or_default())
}

/// One wrong value must not cost the others: it is left out and noted.
pub(super) fn metadata(drive: &Path) -> Result<Metadata, DatasourceError> {
    let meta = json(&drive.join(META_DATA))?;
    let network = json(&drive.join(NETWORK_DATA))?;
    let mut notes = Vec::new();
    if !(meta.is_object() || meta.is_null()) {
        ignored(META_DATA, "object", &mut notes);
    }
    let hostname = text(&meta, "hostname", &mut notes);
    let instance = text(&meta, "uuid", &mut notes);
    let keys = public_keys(&meta, &mut notes);
    let address = first_ipv4(&network, &mut notes);
    let addresses = Addresses { private_ipv4: address.clone(), public_ipv4: address, ..Addresses::default() };
    Ok(Metadata { hostname, keys, addresses, instance, notes })
}

/// A missing file is as an empty one.
fn json(path: &Path) -> Result<Value, DatasourceError> {
    let Some(content) = local::optional(path)? else { return Ok(Value::Null) };
    serde_json::from_slice(&content).map_err(|source| DatasourceError::Json { path: path.into(), source })
}

fn ignored(what: &str, want: &str, notes: &mut Vec<String>) {
    notes.push(format!("ignoring {what}, which is no {want}"));
}

/// `parent`'s value `key`, `None` also where it is null or `parent` no object.
fn member<'a>(parent: &'a Value, key: &str) -> Option<&'a Value> {
    parent.get(key).filter(|value| !value.is_null())
}

fn text(meta: &Value, key: &str, notes: &mut Vec<String>) -> Option<String> {
    let value = member(meta, key)?;
    if !value.is_string() {
        ignored(&format!("{key} of {META_DATA}"), "text", notes);
    }
    value.as_str().map(str::to_owned)
}

fn public_keys(meta: &Value, notes: &mut Vec<String>) -> Vec<(String, String)> {
    let Some(value) = member(meta, "public_keys") else { return Vec::new() };
    let Some(named) = value.as_object() else {
        ignored(&format!("public_keys of {META_DATA}"), "object", notes);
        return Vec::new();
    };
    let mut keys = Vec::new();
    for (name, key) in named {
        match key.as_str() {
            Some(key) => keys.push((name.clone(), key.to_owned())),
            None => ignored(&format!("key {name:?} in public_keys of {META_DATA}"), "text", notes),
        }
    }
    keys
}

/// A prefix length after the address is cut off.
fn first_ipv4(data: &Value, notes: &mut Vec<String>) -> Option<String> {
    let networks = member(data, "networks")?;
    let Some(networks) = networks.as_array() else {
        ignored(&format!("networks of {NETWORK_DATA}"), "list", notes);
        return None;
    };
    for network in networks {
        let (Some("ipv4"), Some(value)) =
            (network.get("type").and_then(Value::as_str), member(network, "ip_address"))
        else {
            continue;
        };
        let address = value.as_str().and_then(|text| text.split('/').next());
        match address.and_then(|text| text.parse::<Ipv4Addr>().ok()) {
            Some(address) => return Some(address.to_string()),
            None => ignored(&format!("an ip_address of {NETWORK_DATA}"), "IPv4 address", notes),
        }
    }
    None
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

    #[test]
    fn a_wrong_value_does_not_cost_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let latest = folder.path().join("openstack/latest");
        std::fs::create_dir_all(&latest).unwrap();
        let put = |name: &str, text: &str| std::fs::write(latest.join(name), text).unwrap();
        put(
            "meta_data.json",
            r#"{"uuid": 7, "hostname": "a", "public_keys": {"x": 1, "y": "k", "z": null}}"#,
        );
        let bad = r#"{"type": "ipv4", "ip_address": 3}"#;
        let good = r#"{"type": "ipv4", "ip_address": "10.0.0.7"}"#;
        put("network_data.json", &format!(r#"{{"networks": ["x", {bad}, {good}]}}"#));
        let metadata = super::metadata(folder.path()).unwrap();
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
        put("meta_data.json", r#"{"hostname": "a", "public_keys": ["k"]}"#);
        assert_eq!(super::metadata(folder.path()).unwrap().hostname.as_deref(), Some("a"));
        put("meta_data.json", "[]");
        put("network_data.json", "3");
        let metadata = super::metadata(folder.path()).unwrap();
        assert_eq!((metadata.hostname, metadata.notes.len()), (None, 1));
    }
}
