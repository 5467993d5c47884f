//! Reads the facts about the machine that the planner needs.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use cloudinit::check::Checked;
use cloudinit::plan::Facts;
use cloudinit::template::Addresses;
use host::accounts::{self, AccountError};
use host::{FileError, Root, files, hostname};

use crate::log::Log;

const MAX_SETTINGS_BYTES: usize = 1 << 20;
const LOCALE_PATH: &str = "/etc/locale.conf";
const INTERFACES_PATH: &str = "/sys/class/net";
const ENVIRONMENT_PATH: &str = "/etc/environment";
/// The credential with the hosts of a `keelson up` cluster.
const HOSTS_CREDENTIAL_PATH: &str = "/run/credentials/@system/keelson.hosts";
const UPDATE_CONF_PATHS: [&str; 2] = ["/etc/coreos/update.conf", "/usr/share/coreos/update.conf"];

/// Adds the accounts: on a machine, those of its name service.
///
/// # Errors
/// A database cannot be read.
pub fn accounts(root: &Root, checked: &Checked, facts: &mut Facts) -> Result<(), AccountError> {
    for account in &checked.users {
        if accounts::user(root, &account.name)?.is_some() {
            facts.users.insert(account.name.clone());
        }
    }
    for group in &checked.groups {
        let members = accounts::members(root, &group.name)?;
        facts.members.extend(members.into_iter().map(|member| (group.name.clone(), member)));
    }
    let groups: BTreeSet<_> = checked.users.iter().flat_map(|account| &account.groups).collect();
    let groups = groups.into_iter().chain(checked.groups.iter().map(|group| &group.name));
    for group in groups {
        if accounts::group(root, group)?.is_some() {
            facts.groups.insert(group.clone());
        }
    }
    Ok(())
}

/// The facts except accounts.
///
/// # Errors
/// A file exists but cannot be read.
pub fn facts(root: &Root, checked: &Checked, log: &Log) -> Result<Facts, FileError> {
    let mut facts = Facts { hostname: hostname::current(), ..Facts::default() };
    facts.environment = read_text(root, ENVIRONMENT_PATH)?.unwrap_or_default();
    facts.locale_conf = read_text(root, LOCALE_PATH)?.unwrap_or_default();
    facts.extra_hosts =
        if_permitted(HOSTS_CREDENTIAL_PATH, read_text(root, HOSTS_CREDENTIAL_PATH), log)?.unwrap_or_default();
    let files = checked.network.files();
    if !files.is_empty() {
        facts.interfaces = files::list(root, INTERFACES_PATH)?.into_iter().collect();
    }
    for file in files {
        if let Some(content) = read_text(root, &file.path)? {
            facts.network_files.insert(file.path, content);
        }
    }
    for path in UPDATE_CONF_PATHS {
        if let Some(conf) = read_text(root, path)? {
            facts.update_conf = conf;
            break;
        }
    }
    Ok(facts)
}

fn read_text(root: &Root, path: &str) -> Result<Option<String>, FileError> {
    let content = files::read(root, path, MAX_SETTINGS_BYTES)?;
    Ok(content.map(|content| String::from_utf8_lossy(&content).into_owned()))
}

/// A file that only root can read is unknown when another user plans; the plan may differ.
pub fn if_permitted<T>(
    path: &str,
    read: Result<Option<T>, FileError>,
    log: &Log,
) -> Result<Option<T>, FileError> {
    match read {
        Err(FileError::System { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            log.warning(format!("only root can read {path}: a run as root may do more, or other steps"));
            Ok(None)
        }
        read => read,
    }
}

/// The addresses in this process's environment, else those in `/etc/environment`: sudo drops the former, and
/// services get the latter.
///
/// # Errors
/// The file exists but cannot be read.
pub fn environment_addresses(root: &Root, log: &Log) -> Result<Addresses, FileError> {
    let file = if_permitted(ENVIRONMENT_PATH, read_text(root, ENVIRONMENT_PATH), log)?.unwrap_or_default();
    let lookup = |name: &str| std::env::var(name).ok().or_else(|| assigned_value(&file, name));
    Ok(addresses(lookup, log))
}

/// The value of the last assignment of `name`, unquoted.
fn assigned_value(file: &str, name: &str) -> Option<String> {
    let set = file.lines().rev().filter_map(|line| line.split_once('='));
    let value = set.into_iter().find_map(|(key, value)| (key.trim() == name).then_some(value))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

fn addresses(lookup: impl Fn(&str) -> Option<String>, log: &Log) -> Addresses {
    Addresses {
        public_ipv4: address::<Ipv4Addr>("COREOS_PUBLIC_IPV4", &lookup, log),
        private_ipv4: address::<Ipv4Addr>("COREOS_PRIVATE_IPV4", &lookup, log),
        public_ipv6: address::<Ipv6Addr>("COREOS_PUBLIC_IPV6", &lookup, log),
        private_ipv6: address::<Ipv6Addr>("COREOS_PRIVATE_IPV6", &lookup, log),
    }
}

fn address<A: FromStr>(name: &str, lookup: impl Fn(&str) -> Option<String>, log: &Log) -> Option<String> {
    let value = lookup(name).filter(|value| !value.is_empty())?;
    if value.parse::<A>().is_err() {
        log.warning(format!("Warning: ignoring {name}, which is no IP address"));
        return None;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::assigned_value;

    #[test]
    fn last_assignment_wins() {
        let file = "# COREOS_A=0\nCOREOS_A=1\n COREOS_A = \"2\"\nCOREOS_AB=3\n";
        assert_eq!(assigned_value(file, "COREOS_A").as_deref(), Some("2"));
        assert_eq!(assigned_value(file, "COREOS_B"), None);
    }
}
