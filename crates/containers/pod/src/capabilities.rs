//! Capabilities of apps.

use serde::{Deserialize, Serialize};

/// What an app has by default: Docker's list without CAP_MKNOD. No device group restricts an app, since its control
/// group is the unit's; a device node that it created would be the host's device.
const DEFAULT: [&str; 13] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
/// Linux's capabilities, in alphabetical order.
const ALL: [&str; 41] = [
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
];

/// How an app's capabilities differ from the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Exactly these, if there are any.
    pub retain: Vec<String>,
    /// Without these.
    pub remove: Vec<String>,
}

/// Why capabilities are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum CapabilityError {
    #[error("{0:?} is no capability; expected a name such as CAP_NET_ADMIN")]
    Unknown(String),
    #[error("--caps-retain and --caps-remove exclude each other")]
    Both,
}

impl Capabilities {
    /// From values of the flags: names joined by commas.
    ///
    /// # Errors
    /// A name is unknown, or both flags are set.
    pub fn parse(retain: &[String], remove: &[String]) -> Result<Self, CapabilityError> {
        if !retain.is_empty() && !remove.is_empty() {
            return Err(CapabilityError::Both);
        }
        Ok(Self { retain: names(retain)?, remove: names(remove)? })
    }

    /// The names, sorted. `all`: without a restriction.
    #[must_use]
    pub fn list(&self, all: bool) -> Vec<&'static str> {
        let base: &[&'static str] = if all || !self.retain.is_empty() { &ALL } else { &DEFAULT };
        let kept = |name: &&&str| {
            let retained = self.retain.is_empty() || self.retain.iter().any(|one| one == **name);
            retained && self.remove.iter().all(|one| one != **name)
        };
        base.iter().filter(kept).copied().collect()
    }
}

fn names(values: &[String]) -> Result<Vec<String>, CapabilityError> {
    let mut names = Vec::new();
    for name in values.iter().flat_map(|value| value.split(',')) {
        let upper = name.trim().to_ascii_uppercase();
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        if !ALL.contains(&full.as_str()) {
            return Err(CapabilityError::Unknown(name.to_owned()));
        }
        names.push(full);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let check = |retain: &[&str], remove: &[&str], all: bool, expected: Result<&[&str], &str>| {
            let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            match (Capabilities::parse(&texts(retain), &texts(remove)), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.list(all), expected),
                (Err(error), Err(excerpt)) => assert!(error.to_string().contains(excerpt), "{error}"),
                (other, _) => panic!("{other:?}"),
            }
        };
        assert!(ALL.is_sorted() && DEFAULT.is_sorted());
        check(&[], &[], false, Ok(&DEFAULT));
        check(&[], &[], true, Ok(&ALL));
        check(&["CAP_SYS_ADMIN,net_admin"], &[], false, Ok(&["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]));
        check(
            &[],
            &["CAP_CHOWN", "CAP_MKNOD"],
            false,
            Ok(&{
                let mut list = DEFAULT.to_vec();
                list.retain(|name| *name != "CAP_CHOWN");
                <[&str; 12]>::try_from(list).unwrap()
            }),
        );
        check(&["CAP_ALL"], &[], false, Err("\"CAP_ALL\" is no capability"));
        check(&["CAP_KILL"], &["CAP_KILL"], false, Err("exclude each other"));
    }
}
