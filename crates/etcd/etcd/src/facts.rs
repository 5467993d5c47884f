//! Gathers the input of the configuration: flags, environment, host name, addresses, files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;

use etcd_config::{Facts, required_files};

/// systemd credential with variables of the lowest precedence, set by the machine's operator.
const CREDENTIAL: &str = "etcd.environment";
const MAX_CREDENTIAL_BYTES: u64 = 64 * 1024;
/// Maximum size of `-config-file` and `-peers-file`.
const MAX_FILE_BYTES: u64 = etcd_config::limits::MAX_FILE_BYTES as u64;
/// Bootstrap methods: an explicit one overrides that of the credential.
const BOOTSTRAP_METHODS: [&str; 5] = ["INITIAL_CLUSTER", "DISCOVERY", "DISCOVERY_SRV", "PEERS", "PEERS_FILE"];

pub fn gather() -> Facts {
    let mut facts = Facts {
        arguments: std::env::args_os()
            .skip(1)
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect(),
        environment: environment(),
        hostname: nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        default_route_address: default_route_address(),
        interface_addresses: interface_addresses(),
        files: BTreeMap::new(),
    };
    add_defaults(&mut facts, &credential());
    // Twice, since the config file may refer to a peers file.
    for _ in 0..2 {
        for path in required_files(&facts) {
            let content = read(&path, MAX_FILE_BYTES).map_err(|error| error.to_string());
            facts.files.entry(path).or_insert(content);
        }
    }
    facts
}

/// Only the variables that are used, so that others need not be UTF-8.
fn environment() -> BTreeMap<String, String> {
    let relevant = |name: &str| name.starts_with("ETCD_") || name.starts_with("COREOS_");
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| relevant(name))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect()
}

fn credential() -> String {
    let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else { return String::new() };
    // The credential is optional.
    read(&Path::new(&folder).join(CREDENTIAL), MAX_CREDENTIAL_BYTES).unwrap_or_default()
}

fn add_defaults(facts: &mut Facts, text: &str) {
    let explicit = BOOTSTRAP_METHODS.iter().any(|method| {
        let flag = method.to_ascii_lowercase().replace('_', "-");
        let is_flag = |argument: &String| {
            let name = argument.trim_start_matches('-');
            argument.starts_with('-') && name.split('=').next() == Some(flag.as_str())
        };
        facts.environment.get(&format!("ETCD_{method}")).is_some_and(|value| !value.is_empty())
            || facts.arguments.iter().any(is_flag)
    });
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let is_method = name.strip_prefix("ETCD_").is_some_and(|rest| BOOTSTRAP_METHODS.contains(&rest));
        if !(is_method && explicit) {
            facts.environment.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
}

fn read(path: &Path, limit: u64) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(limit + 1).read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        return Err(std::io::Error::other(format!("it has more than {limit} bytes")));
    }
    Ok(text)
}

/// The source address of the default route. No packet is sent.
fn default_route_address() -> Option<IpAddr> {
    // Documentation addresses, which are routed only by a default route.
    let destinations = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    destinations.into_iter().find_map(|(from, to)| {
        let socket = UdpSocket::bind(from.parse::<SocketAddr>().ok()?).ok()?;
        socket.connect(to.parse::<SocketAddr>().ok()?).ok()?;
        let address = socket.local_addr().ok()?.ip();
        (!address.is_loopback() && !address.is_unspecified()).then_some(address)
    })
}

/// Empty if they cannot be listed.
fn interface_addresses() -> BTreeSet<IpAddr> {
    let list = nix::ifaddrs::getifaddrs().into_iter().flatten();
    list.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_have_the_lowest_precedence() {
        let credential = "ETCD_DISCOVERY=http://host.keelson:1/t\nETCD_CERT_FILE=/c\nnoise\n";
        let check = |arguments: &[&str], environment: &[(&str, &str)], expect: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let mut facts = Facts {
                arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
                environment: environment.iter().map(owned).collect(),
                ..Facts::default()
            };
            add_defaults(&mut facts, credential);
            assert_eq!(facts.environment, expect.iter().map(owned).collect());
        };
        let discovery = ("ETCD_DISCOVERY", "http://host.keelson:1/t");
        let certificate = ("ETCD_CERT_FILE", "/c");
        check(&[], &[], &[discovery, certificate]);
        check(&["-name", "a"], &[("ETCD_CERT_FILE", "/own")], &[discovery, ("ETCD_CERT_FILE", "/own")]);
        check(&["--discovery=http://other/x"], &[], &[certificate]);
        check(&["-peers", "a:1"], &[], &[certificate]);
        let own = ("ETCD_INITIAL_CLUSTER", "a=http://a:1");
        check(&[], &[own], &[own, certificate]);
    }
}
