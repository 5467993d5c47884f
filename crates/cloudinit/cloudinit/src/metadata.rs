//! What a datasource knows of the machine besides the user-data, and how it joins the config (contract 1.6).

use std::collections::BTreeMap;

use crate::check::{Checked, hostname_problem};
use crate::limits::MAX_HOSTNAME_LABEL_BYTES;
use crate::template::Addresses;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    pub hostname: Option<String>,
    /// Name and text of each key of user `core`.
    pub keys: Vec<(String, String)>,
    pub addresses: Addresses,
    /// The instance's identity, for runs that happen once an instance.
    pub instance: Option<String>,
    /// The network as the datasource describes it, for `-convert-netconf`.
    pub network: Option<NetworkSource>,
    /// What is malformed and left out, for the log.
    pub notes: Vec<String>,
}

/// A description of the network in its provider's own language; what it means is decided elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkSource {
    /// `/etc/network/interfaces`, as OpenStack's config drive has it.
    Debian(String),
    /// OpenStack's `network_data.json`.
    OpenStack(serde_json::Value),
    /// The whole of Packet's metadata: its `network` is what counts.
    Packet(serde_json::Value),
    /// The keys below `guestinfo.`, without that prefix.
    Vmware(BTreeMap<String, String>),
}

impl Metadata {
    /// The keys' texts, sorted by name (by number if all names are numbers).
    pub fn sorted_keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.keys.iter().collect();
        if keys.iter().all(|(name, _)| name.parse::<u64>().is_ok()) {
            keys.sort_by_key(|(name, _)| name.parse::<u64>().unwrap_or_default());
        } else {
            keys.sort();
        }
        keys.into_iter().map(|(_, key)| key.trim().to_owned()).filter(|key| !key.is_empty()).collect()
    }
}

/// Adds the metadata to the config, which wins. So does `named`: the name that other user-data gave the machine since
/// it was started. Which of two sources is read first is chance, and must not decide what the machine is called.
pub fn merge(mut checked: Checked, metadata: &Metadata, assigned_hostname: Option<&str>) -> Checked {
    match (&checked.hostname, &metadata.hostname) {
        (Some(ours), Some(theirs)) => checked
            .notes
            .push(format!("Warning: user-data hostname ({ours}) overrides metadata hostname ({theirs})")),
        (None, Some(theirs)) if !theirs.is_empty() => {
            let short = short_hostname(theirs);
            match (assigned_hostname, hostname_problem(short)) {
                (_, Some(problem)) => {
                    checked.notes.push(format!("Warning: ignoring the metadata's {problem}"));
                }
                (Some(assigned_hostname), None) => {
                    if assigned_hostname != short {
                        let note = "of user-data from elsewhere overrides metadata hostname";
                        checked
                            .notes
                            .push(format!("Warning: hostname ({assigned_hostname}) {note} ({short})"));
                    }
                    checked.hostname = Some(assigned_hostname.to_owned());
                }
                (None, None) => checked.hostname = Some(short.to_owned()),
            }
        }
        _ => {}
    }
    checked.notes.extend(metadata.notes.iter().map(|note| format!("Warning: {note}")));
    for key in metadata.sorted_keys() {
        if !checked.core_keys.contains(&key) {
            checked.core_keys.push(key);
        }
    }
    checked
}

/// Clouds give full names; a node's name is the first label.
fn short_hostname(name: &str) -> &str {
    let label = name.split('.').next().unwrap_or_default();
    let mut end = label.len().min(MAX_HOSTNAME_LABEL_BYTES);
    while !label.is_char_boundary(end) {
        end -= 1;
    }
    &label[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_appended_in_order_without_repetition() {
        let keys = [("10", "c"), ("9", " b\n"), ("1", "a"), ("11", "")];
        let metadata = Metadata {
            keys: keys.map(|(name, key)| (name.into(), key.into())).to_vec(),
            ..Metadata::default()
        };
        let checked = Checked { core_keys: vec!["x".into(), "a".into()], ..Checked::default() };
        assert_eq!(merge(checked, &metadata, None).core_keys, ["x", "a", "b", "c"]);
    }

    #[test]
    fn hostnames() {
        for (name, expect) in [
            ("node.example.org", Some("node")),
            (&*"n".repeat(80), Some(&*"n".repeat(63))),
            ("bad_name", None),
            ("", None),
        ] {
            let metadata = Metadata { hostname: Some(name.into()), ..Metadata::default() };
            assert_eq!(merge(Checked::default(), &metadata, None).hostname.as_deref(), expect);
            let assigned_hostname = merge(Checked::default(), &metadata, Some("named")).hostname;
            assert_eq!(assigned_hostname.as_deref(), expect.map(|_| "named"));
            let own = Checked { hostname: Some("own.example.org".into()), ..Checked::default() };
            let merged = merge(own, &metadata, Some("named"));
            assert_eq!(merged.hostname.as_deref(), Some("own.example.org"));
        }
    }
}
