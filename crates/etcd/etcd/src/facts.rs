//! What this process finds before anything is decided: flags, environment, names, addresses, files.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;

use etcd_config::{Facts, required_files};

/// What the machine's operator handed over as a systemd credential: variables that count below all others.
const CREDENTIAL: &str = "etcd.environment";
const CREDENTIAL_BYTES: u64 = 64 * 1024;
/// Longest `-config-file` or `-peers-file`.
const FILE_BYTES: u64 = etcd_config::limits::MAX_FILE_BYTES as u64;
/// Ways to found a cluster: one that was chosen excludes the operator's own.
const WAYS: [&str; 5] = ["INITIAL_CLUSTER", "DISCOVERY", "DISCOVERY_SRV", "PEERS", "PEERS_FILE"];

pub fn gather() -> Facts {
    let mut facts = Facts {
        arguments: std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect(),
        environment: environment(),
        hostname: nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        default_route_address: default_route_address(),
        files: BTreeMap::new(),
    };
    add_defaults(&mut facts, &credential());
    // The config file may name a peers file: only its content tells.
    for _ in 0..2 {
        for path in required_files(&facts) {
            let content = read(&path, FILE_BYTES).map_err(|error| error.to_string());
            facts.files.entry(path).or_insert(content);
        }
    }
    facts
}

/// Only what concerns us: a variable that is no text elsewhere is nobody's mistake here.
fn environment() -> BTreeMap<String, String> {
    let ours = |name: &str| name.starts_with("ETCD_") || name.starts_with("COREOS_");
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| ours(name))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect()
}

fn credential() -> String {
    let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else { return String::new() };
    // A machine that was given none has no such file.
    read(&Path::new(&folder).join(CREDENTIAL), CREDENTIAL_BYTES).unwrap_or_default()
}

fn add_defaults(facts: &mut Facts, text: &str) {
    let chosen = WAYS.iter().any(|way| {
        let flag = way.to_ascii_lowercase().replace('_', "-");
        let is_flag = |word: &String| {
            let name = word.trim_start_matches('-');
            word.starts_with('-') && name.split('=').next() == Some(flag.as_str())
        };
        facts.environment.get(&format!("ETCD_{way}")).is_some_and(|value| !value.is_empty())
            || facts.arguments.iter().any(is_flag)
    });
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let is_way = name.strip_prefix("ETCD_").is_some_and(|rest| WAYS.contains(&rest));
        if !(is_way && chosen) {
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

/// The address that a datagram to the world would leave from. None is sent.
fn default_route_address() -> Option<IpAddr> {
    // Addresses for documentation: they have a route only if there is a default one.
    let worlds = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    worlds.into_iter().find_map(|(from, to)| {
        let socket = UdpSocket::bind(from.parse::<SocketAddr>().ok()?).ok()?;
        socket.connect(to.parse::<SocketAddr>().ok()?).ok()?;
        let address = socket.local_addr().ok()?.ip();
        (!address.is_loopback() && !address.is_unspecified()).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_defaults_count_least_and_no_cluster_is_founded_twice() {
        let given = "ETCD_DISCOVERY=http://host.keelson:1/t\nETCD_CERT_FILE=/c\nnoise\n";
        let check = |arguments: &[&str], environment: &[(&str, &str)], expect: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let mut facts = Facts {
                arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
                environment: environment.iter().map(owned).collect(),
                ..Facts::default()
            };
            add_defaults(&mut facts, given);
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
