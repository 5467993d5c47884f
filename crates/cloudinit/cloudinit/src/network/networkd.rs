//! Formats interfaces as networkd's `.netdev` and `.network` files.

use std::fmt::Write as _;

use super::interface::{Child, Config, Dhcp, Interface, Link, Network};

const DIRECTORY: &str = "/run/systemd/network";

/// Of a name that is a shell pattern.
const PATTERN_CHARACTERS: [char; 5] = ['*', '?', '[', ']', '!'];
const LAST_DEPTH: usize = 0xff;

/// A configuration file of networkd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFile {
    pub path: String,
    pub name: String,
    pub content: String,
}

impl Network {
    /// The files, in the order in which networkd reads them.
    pub fn files(&self) -> Vec<NetworkFile> {
        let mut files = Vec::new();
        for interface in &self.interfaces {
            for (suffix, content) in [("netdev", netdev(interface)), ("network", Some(network(interface)))] {
                let Some(content) = content else { continue };
                let called = match &interface.mac {
                    Some(mac) if interface.name.is_empty() => mac.to_string(),
                    _ => interface.name.replace(PATTERN_CHARACTERS, "_"),
                };
                // networkd uses the first file that matches: one for a single interface.
                let is_pattern = interface.name.contains(PATTERN_CHARACTERS);
                let depth = if is_pattern { LAST_DEPTH } else { interface.depth };
                let name = format!("{depth:02x}-{called}.{suffix}");
                files.push(NetworkFile { path: format!("{DIRECTORY}/{name}"), name, content });
            }
        }
        files.sort_by(|a: &NetworkFile, b| a.path.cmp(&b.path));
        files
    }

    /// The arguments of each `modprobe` call.
    pub fn modules(&self) -> Vec<Vec<String>> {
        let mut modules = Vec::new();
        if self.interfaces.iter().any(|interface| matches!(interface.link, Link::Vlan { .. })) {
            modules.push(vec!["8021q".to_owned()]);
        }
        let bond = self.interfaces.iter().find_map(|interface| match &interface.link {
            Link::Bond { options, .. } => Some(options),
            _ => None,
        });
        if let Some(options) = bond {
            let mut arguments: Vec<_> = options.iter().map(|option| option.parameter.clone()).collect();
            arguments.sort();
            arguments.insert(0, "bonding".to_owned());
            modules.push(arguments);
        }
        modules
    }
}

fn netdev(interface: &Interface) -> Option<String> {
    let (kind, mac) = match &interface.link {
        Link::Physical => return None,
        Link::Bond { mac, .. } => ("bond", mac),
        Link::Vlan { mac, .. } => ("vlan", mac),
    };
    let mut text = format!("[NetDev]\nKind={kind}\nName={}\n", interface.name);
    if let Some(mac) = mac {
        line(&mut text, "MACAddress", mac);
    }
    match &interface.link {
        Link::Bond { options, .. } => {
            text.push_str("\n[Bond]\n");
            let mut options: Vec<_> = options.iter().collect();
            options.sort();
            for option in options {
                line(&mut text, option.key, &option.value);
            }
        }
        Link::Vlan { id, .. } => {
            text.push_str("\n[VLAN]\n");
            line(&mut text, "Id", id);
        }
        Link::Physical => {}
    }
    Some(text)
}

fn network(interface: &Interface) -> String {
    let mut text = "[Match]\n".to_owned();
    if !interface.name.is_empty() {
        line(&mut text, "Name", &interface.name);
    }
    if let Some(mac) = &interface.mac {
        line(&mut text, "MACAddress", mac);
    }
    let Config { dhcp, accept_ra, mtu, domains, nameservers, addresses, routes } = &interface.config;
    if let Some(mtu) = mtu {
        text.push_str("\n[Link]\n");
        line(&mut text, "MTUBytes", mtu);
    }
    text.push_str("\n[Network]\n");
    for child in &interface.children {
        match child {
            Child::Bond(name) => line(&mut text, "Bond", name),
            Child::Vlan(name) => line(&mut text, "VLAN", name),
        }
    }
    if !domains.is_empty() {
        line(&mut text, "Domains", domains.join(" "));
    }
    for server in nameservers {
        line(&mut text, "DNS", server);
    }
    let dhcp = match dhcp {
        Dhcp::No => None,
        Dhcp::V4 => Some("ipv4"),
        Dhcp::V6 => Some("ipv6"),
        Dhcp::Both => Some("yes"),
    };
    if let Some(dhcp) = dhcp {
        line(&mut text, "DHCP", dhcp);
        // Keeps the lease across the restart of networkd that follows.
        line(&mut text, "KeepConfiguration", "dhcp-on-stop");
    }
    if dhcp.is_some() || *accept_ra {
        line(&mut text, "IPv6AcceptRA", "true");
    }
    for address in addresses {
        text.push_str("\n[Address]\n");
        line(&mut text, "Address", address);
    }
    for route in routes {
        text.push_str("\n[Route]\n");
        line(&mut text, "Destination", route.destination);
        line(&mut text, "Gateway", route.gateway);
        if let Some(metric) = route.metric {
            line(&mut text, "Metric", metric);
        }
        if route.on_link {
            line(&mut text, "GatewayOnLink", "yes");
        }
    }
    text
}

fn line(text: &mut String, key: &str, value: impl std::fmt::Display) {
    // invariant: writing to a `String` cannot fail.
    writeln!(text, "{key}={value}").unwrap_or(());
}
