//! What the planner has to know of the machine. Reads only.

use std::collections::BTreeSet;
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
/// A database or file that is there can not be read.
pub fn facts(root: &Root, checked: &Checked) -> Result<Facts, AccountError> {
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
    facts.given_hosts = text(root, GIVEN_HOSTS_PATH)?.unwrap_or_default();
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

/// The addresses that this process was given in its environment.
pub fn environment_addresses(log: &Log) -> Addresses {
    Addresses {
        public_ipv4: address::<Ipv4Addr>("COREOS_PUBLIC_IPV4", log),
        private_ipv4: address::<Ipv4Addr>("COREOS_PRIVATE_IPV4", log),
        public_ipv6: address::<Ipv6Addr>("COREOS_PUBLIC_IPV6", log),
        private_ipv6: address::<Ipv6Addr>("COREOS_PRIVATE_IPV6", log),
    }
}

fn address<A: FromStr>(name: &str, log: &Log) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    if value.parse::<A>().is_err() {
        log.warning(format!("Warning: ignoring {name}, which is no IP address"));
        return None;
    }
    Some(value)
}
