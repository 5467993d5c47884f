//! What the planner has to know of the machine. Reads only.

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
/// Where systemd has the names that a machine of `keelson up` was given.
const GIVEN_HOSTS_PATH: &str = "/run/credentials/@system/keelson.hosts";
const UPDATE_CONF_PATHS: [&str; 2] = ["/etc/coreos/update.conf", "/usr/share/coreos/update.conf"];

/// # Errors
/// A database or file that is there cannot be read.
pub fn facts(root: &Root, checked: &Checked, log: &Log) -> Result<Facts, AccountError> {
    let mut facts = Facts { hostname: hostname::current(), ..Facts::default() };
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
    facts.environment = text(root, ENVIRONMENT_PATH)?.unwrap_or_default();
    facts.locale_conf = text(root, LOCALE_PATH)?.unwrap_or_default();
    facts.given_hosts = permitted(GIVEN_HOSTS_PATH, text(root, GIVEN_HOSTS_PATH), log)?.unwrap_or_default();
    let files = checked.network.files();
    if !files.is_empty() {
        facts.interfaces = files::list(root, INTERFACES_PATH)?.into_iter().collect();
    }
    for file in files {
        if let Some(content) = text(root, &file.path)? {
            facts.network_files.insert(file.path, content);
        }
    }
    for path in UPDATE_CONF_PATHS {
        if let Some(conf) = text(root, path)? {
            facts.update_conf = conf;
            break;
        }
    }
    Ok(facts)
}

fn text(root: &Root, path: &str) -> Result<Option<String>, FileError> {
    let content = files::read(root, path, MAX_SETTINGS_BYTES)?;
    Ok(content.map(|content| String::from_utf8_lossy(&content).into_owned()))
}

/// What only root may read is not known to who plans as another user; the plan may differ by it.
pub fn permitted<T>(
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

/// The addresses that this process was given in its environment, else those in the machine's `/etc/environment`: sudo
/// does not hand the former on, and the latter is what the machine's services are given.
///
/// # Errors
/// The file is there and cannot be read.
pub fn environment_addresses(root: &Root, log: &Log) -> Result<Addresses, FileError> {
    let file = permitted(ENVIRONMENT_PATH, text(root, ENVIRONMENT_PATH), log)?.unwrap_or_default();
    let given = |name: &str| std::env::var(name).ok().or_else(|| assigned(&file, name));
    Ok(addresses(given, log))
}

/// As the last line that sets `name` has it, without quotation marks.
fn assigned(file: &str, name: &str) -> Option<String> {
    let set = file.lines().rev().filter_map(|line| line.split_once('='));
    let value = set.into_iter().find_map(|(key, value)| (key.trim() == name).then_some(value))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

fn addresses(given: impl Fn(&str) -> Option<String>, log: &Log) -> Addresses {
    Addresses {
        public_ipv4: address::<Ipv4Addr>("COREOS_PUBLIC_IPV4", &given, log),
        private_ipv4: address::<Ipv4Addr>("COREOS_PRIVATE_IPV4", &given, log),
        public_ipv6: address::<Ipv6Addr>("COREOS_PUBLIC_IPV6", &given, log),
        private_ipv6: address::<Ipv6Addr>("COREOS_PRIVATE_IPV6", &given, log),
    }
}

fn address<A: FromStr>(name: &str, given: impl Fn(&str) -> Option<String>, log: &Log) -> Option<String> {
    let value = given(name).filter(|value| !value.is_empty())?;
    if value.parse::<A>().is_err() {
        log.warning(format!("Warning: ignoring {name}, which is no IP address"));
        return None;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::assigned;

    #[test]
    fn the_last_line_that_sets_it_counts() {
        let file = "# COREOS_A=0\nCOREOS_A=1\n COREOS_A = \"2\"\nCOREOS_AB=3\n";
        assert_eq!(assigned(file, "COREOS_A").as_deref(), Some("2"));
        assert_eq!(assigned(file, "COREOS_B"), None);
    }
}
