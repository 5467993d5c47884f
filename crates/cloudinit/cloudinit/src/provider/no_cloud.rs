//! NoCloud: `meta-data`, a YAML document next to the user-data on a seed disk.
//!
//! The network is described by Debian's format in `network-interfaces`, or by cloud-init's in a file of its own.

use super::{Malformed, note_ignored};
use crate::metadata::{Metadata, NetworkSource};
use crate::yaml::{self, Mapping, Node};

const FILE: &str = "meta-data";

/// Reads the metadata.
///
/// # Errors
/// The document is not valid YAML, or not a mapping.
pub fn metadata(meta_data: &[u8]) -> Result<Metadata, Malformed> {
    let document = yaml::read(meta_data)?;
    let mut metadata = Metadata::default();
    let Some(root) = document.root.filter(|root| !root.is_null()) else { return Ok(metadata) };
    let root = root.mapping().ok_or(Malformed::NotMapping)?;
    let notes = &mut metadata.notes;
    metadata.hostname = text(root, "local_hostname", notes).or_else(|| text(root, "hostname", notes));
    metadata.instance = text(root, "instance_id", notes);
    metadata.network = text(root, "network_interfaces", notes).map(NetworkSource::Debian);
    if let Some(keys) = root.get("public_keys") {
        public_keys(&keys.node, "0", &mut metadata.keys, notes);
    }
    Ok(metadata)
}

/// Reads the file `network-config`.
///
/// # Errors
/// It is not UTF-8.
pub fn network_config(content: &[u8]) -> Result<NetworkSource, Malformed> {
    super::text(content).map(|text| NetworkSource::CloudInit(text.to_owned()))
}

/// Numbers are accepted as text.
fn text(root: &Mapping, key: &str, notes: &mut Vec<String>) -> Option<String> {
    let node = &root.get(key).filter(|entry| !entry.node.is_null())?.node;
    if node.scalar().is_none() {
        note_ignored(&format!("{} of {FILE}", key.replace('_', "-")), "text", notes);
    }
    node.scalar().map(|scalar| scalar.text.to_string()).filter(|text| !text.is_empty())
}

/// Accepts all formats in use: a text with one key per line, a list, or a mapping of names to keys or to
/// EC2's structure.
fn public_keys(node: &Node, name: &str, keys: &mut Vec<(String, String)>, notes: &mut Vec<String>) {
    if let Some(scalar) = node.scalar().filter(|_| !node.is_null()) {
        let lines = scalar.text.lines().map(str::trim).filter(|line| !line.is_empty());
        keys.extend(lines.map(|line| (name.to_owned(), line.to_owned())));
        return;
    }
    let of_list = node.list().into_iter().flatten().map(|item| item.node.clone()).enumerate();
    let of_list = of_list.map(|(number, node)| (number.to_string(), node));
    let entries = node.mapping().map_or(&[][..], Mapping::entries).iter();
    let of_mapping = entries.map(|entry| (entry.key.to_string(), entry.node.clone()));
    for (name, node) in of_list.chain(of_mapping) {
        let key = match node.mapping() {
            Some(named) => named.get("openssh_key").map(|entry| entry.node.clone()),
            None => Some(node),
        };
        match key.filter(|key| key.scalar().is_some() && !key.is_null()) {
            Some(key) => public_keys(&key, &name, keys, notes),
            None => note_ignored(&format!("key {name:?} in public-keys of {FILE}"), "text", notes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Metadata {
        metadata(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_seed() {
        let metadata = read(
            "instance-id: iid-local01\nlocal-hostname: core-01.example.org\nhostname: other\ndsmode: local\n\
             public-keys:\n- ssh-ed25519 AAAA a\n- ssh-ed25519 BBBB b\n\
             network-interfaces: |\n  iface eth0 inet static\n  address 192.168.1.10\n",
        );
        assert_eq!(metadata.instance.as_deref(), Some("iid-local01"));
        assert_eq!(metadata.hostname.as_deref(), Some("core-01.example.org"));
        assert_eq!(metadata.sorted_keys(), ["ssh-ed25519 AAAA a", "ssh-ed25519 BBBB b"]);
        let network = "iface eth0 inet static\naddress 192.168.1.10\n";
        assert_eq!(metadata.network, Some(NetworkSource::Debian(network.into())));
        assert_eq!(metadata.notes, Vec::<String>::new());
        // JSON is a subset of YAML.
        assert_eq!(read(r#"{"instance-id": 7, "hostname": "a"}"#).instance.as_deref(), Some("7"));
        for empty in ["", "\n# nothing\n", "---\n", "~\n", "instance-id:\nlocal-hostname: ''\n"] {
            assert_eq!(read(empty), Metadata::default(), "{empty:?}");
        }
    }

    #[test]
    fn key_spellings() {
        for keys in [
            "\"k1\\nk2\\n\"",
            "[k1, k2]",
            "{b: k2, a: k1}",
            "{'1': k2, '0': k1}",
            "[{openssh-key: k1}, k2]",
            "{0: {openssh-key: k1}, 1: {openssh-key: k2}}",
        ] {
            let metadata = read(&format!("public-keys: {keys}\n"));
            assert_eq!(
                (metadata.sorted_keys(), metadata.notes),
                (vec!["k1".into(), "k2".into()], vec![]),
                "{keys}"
            );
        }
    }

    #[test]
    fn invalid_value_does_not_affect_others() {
        let metadata =
            read("instance-id: [1]\nlocal-hostname: {}\nhostname: a\npublic-keys: [[k], k2, {x: k}, ~]\n");
        assert_eq!((metadata.hostname.as_deref(), metadata.instance.as_deref()), (Some("a"), None));
        assert_eq!(metadata.sorted_keys(), ["k2"]);
        assert_eq!(
            metadata.notes,
            [
                "ignoring local-hostname of meta-data, which is no text",
                "ignoring instance-id of meta-data, which is no text",
                "ignoring key \"0\" in public-keys of meta-data, which is no text",
                "ignoring key \"2\" in public-keys of meta-data, which is no text",
                "ignoring key \"3\" in public-keys of meta-data, which is no text",
            ]
        );
        for (text, expect) in [
            ("- a\n", "it is no mapping"),
            ("a: [\n", "it is not YAML (line 1, column 1)"),
            ("a: \u{1}", "it is not YAML (line 1, column 4)"),
        ] {
            assert_eq!(super::metadata(text.as_bytes()).unwrap_err().to_string(), expect, "{text:?}");
        }
    }
}
