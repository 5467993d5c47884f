//! Machine metadata from a datasource, and how it is merged into the config (contract 1.6).

use std::collections::BTreeMap;

use crate::check::{Checked, hostname_problem};
use crate::limits::MAX_HOSTNAME_LABEL_BYTES;
use crate::template::Addresses;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    pub hostname: Option<String>,
    /// Name and content of each key of user `core`.
    pub keys: Vec<(String, String)>,
    pub addresses: Addresses,
    /// Instance ID, for runs that happen once per instance.
    pub instance: Option<String>,
    /// Network description for `-convert-netconf`.
    pub network: Option<NetworkSource>,
    /// Log lines about malformed values, which are ignored.
    pub notes: Vec<String>,
}

/// A network description in the provider's own format; see `network` for its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkSource {
    /// `/etc/network/interfaces`, from OpenStack's config drive.
    Debian(String),
    /// cloud-init's network config, of version 1 or 2.
    CloudInit(String),
    /// OpenStack's `network_data.json`.
    OpenStack(serde_json::Value),
    /// Packet's complete metadata, which contains the network.
    Packet(serde_json::Value),
    /// Keys below `guestinfo.`, without the prefix.
    Vmware(BTreeMap<String, String>),
}

impl Metadata {
    /// Key contents, sorted by name, or numerically if all names are numbers.
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

/// Merges the metadata into the config. The config's hostname wins, then `assigned_hostname`, which other
/// user-data set since boot: the order in which two sources are read is random and must not decide the
/// hostname.
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

/// Clouds provide fully qualified names; the hostname is the first label.
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
