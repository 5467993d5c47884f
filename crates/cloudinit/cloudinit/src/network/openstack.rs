//! OpenStack's `network_data.json`: links, networks and services.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::address::{Cidr, Mac};
use super::bond::BondOption;
use super::interface::{
    Child, ConvertError, Dhcp, Interface, Link, Network, Route, check_count, check_name, set_depths,
};

const MAX_VLAN: u64 = 4094;
/// Each option's name in `network_data.json`, and in [`BondOption`].
const BOND_OPTIONS: [(&str, &str); 4] = [
    ("bond_mode", "mode"),
    ("bond_miimon", "miimon"),
    ("bond_lacp_rate", "lacp-rate"),
    ("bond_xmit_hash_policy", "xmit-hash-policy"),
];

pub(super) fn convert(data: &Value) -> Result<Network, ConvertError> {
    let mut notes = Vec::new();
    let mut interfaces = BTreeMap::new();
    let links = list(&data["links"]);
    check_count(links.len())?;
    let mut edges = Vec::new();
    for link in links {
        let id = id(link)?.to_owned();
        let interface = interface(link, &id, &mut edges, &mut notes)?;
        if interfaces.insert(id.clone(), interface).is_some() {
            return Err(ConvertError(format!("two links have the id {id:?}")));
        }
    }
    edges.sort();
    edges.dedup();
    for (lower, child) in edges {
        let lower: &mut Interface = interfaces
            .get_mut(&lower)
            .ok_or_else(|| ConvertError(format!("no link has the id {lower:?}")))?;
        lower.children.push(child);
    }
    set_depths(&mut interfaces)?;
    let servers = servers(&data["services"])?;
    for network in list(&data["networks"]) {
        let link = network["link"].as_str().unwrap_or_default();
        let interface = interfaces
            .get_mut(link)
            .ok_or_else(|| ConvertError(format!("a network is on {link:?}, which no link is called")))?;
        add_network(network, interface)?;
    }
    for interface in interfaces.values_mut().filter(|interface| !interface.config.addresses.is_empty()) {
        for server in &servers {
            if !interface.config.nameservers.contains(server) {
                interface.config.nameservers.push(*server);
            }
        }
    }
    Ok(Network { interfaces: interfaces.into_values().collect(), notes })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn id(link: &Value) -> Result<&str, ConvertError> {
    link["id"].as_str().ok_or_else(|| ConvertError::new("a link has no id"))
}

/// Accepts a string or a number: both are in use.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn mac(value: &Value) -> Result<Option<Mac>, ConvertError> {
    let Some(text) = text(value) else { return Ok(None) };
    Mac::parse(&text).map(Some).ok_or_else(|| ConvertError(format!("invalid MAC address {text:?}")))
}

/// Adds stacked interfaces to `edges`: the ID of the lower link, and the upper interface.
fn interface(
    link: &Value,
    id: &str,
    edges: &mut Vec<(String, Child)>,
    notes: &mut Vec<String>,
) -> Result<Interface, ConvertError> {
    let own_mac = mac(&link["ethernet_mac_address"])?;
    let mut interface = match link["type"].as_str() {
        Some("bond") => {
            check_name(id)?;
            check_count(list(&link["bond_links"]).len())?;
            let slaves = list(&link["bond_links"]).iter().filter_map(Value::as_str);
            edges.extend(slaves.map(|slave| (slave.to_owned(), Child::Bond(id.to_owned()))));
            Interface::new(id, Link::Bond { mac: own_mac, options: bond_options(link, notes) })
        }
        Some("vlan") => {
            check_name(id)?;
            let number = text(&link["vlan_id"]).and_then(|number| number.parse::<u64>().ok());
            let number = number.filter(|number| *number <= MAX_VLAN);
            let number = number.and_then(|number| u16::try_from(number).ok());
            let number =
                number.ok_or_else(|| ConvertError(format!("link {id:?} has no vlan_id that can be")))?;
            let lower = link["vlan_link"].as_str().unwrap_or_default();
            edges.push((lower.to_owned(), Child::Vlan(id.to_owned())));
            Interface::new(id, Link::Vlan { mac: mac(&link["vlan_mac_address"])?, id: number })
        }
        _ => {
            let mut card = Interface::new("", Link::Physical);
            match (&own_mac, link["name"].as_str()) {
                (Some(_), _) => card.mac = own_mac,
                // The name of the link on the host is used only if there is nothing else to match.
                (None, name) => {
                    let name = name.unwrap_or(id);
                    check_name(name)?;
                    name.clone_into(&mut card.name);
                }
            }
            card
        }
    };
    interface.config.mtu = text(&link["mtu"]).and_then(|mtu| mtu.parse().ok());
    Ok(interface)
}

fn bond_options(link: &Value, notes: &mut Vec<String>) -> Vec<BondOption> {
    let mut options = Vec::new();
    for (key, name) in BOND_OPTIONS {
        let Some(value) = text(&link[key]) else { continue };
        match BondOption::new(name, &value) {
            Some(option) => options.push(option),
            None => notes.push(format!("network config: {key} {value:?} is ignored")),
        }
    }
    options
}

fn servers(services: &Value) -> Result<Vec<IpAddr>, ConvertError> {
    let of_names = list(services).iter().filter(|service| service["type"].as_str() == Some("dns"));
    of_names.map(|service| address(&service["address"])).collect()
}

fn address(value: &Value) -> Result<IpAddr, ConvertError> {
    let text = text(value).unwrap_or_default();
    text.parse().map_err(|_| ConvertError(format!("invalid IP address {text:?}")))
}

fn cidr(address: &Value, mask: &Value) -> Result<Cidr, ConvertError> {
    let address = text(address).unwrap_or_default();
    let cidr = match text(mask) {
        Some(mask) if !address.contains('/') => Cidr::with_mask(&address, &mask),
        _ => Cidr::parse(&address),
    };
    cidr.ok_or_else(|| ConvertError(format!("invalid address {address:?} with its netmask")))
}

fn add_network(network: &Value, interface: &mut Interface) -> Result<(), ConvertError> {
    let config = &mut interface.config;
    match network["type"].as_str().unwrap_or_default() {
        "ipv4_dhcp" => config.dhcp = config.dhcp.with(Dhcp::V4),
        "ipv6_dhcp" | "ipv6_dhcpv6-stateful" => config.dhcp = config.dhcp.with(Dhcp::V6),
        "ipv6_slaac" | "ipv6_dhcpv6-stateless" => config.accept_ra = true,
        "ipv4" | "ipv6" => {
            config.addresses.push(cidr(&network["ip_address"], &network["netmask"])?);
            if let Some(gateway) = text(&network["gateway"]) {
                let gateway = address(&Value::String(gateway))?;
                config.routes.push(Route::new(Cidr::any(gateway), gateway));
            }
        }
        other => return Err(ConvertError(format!("unknown type of network {other:?}"))),
    }
    for route in list(&network["routes"]) {
        let destination = cidr(&route["network"], &route["netmask"])?.network();
        config.routes.push(Route::new(destination, address(&route["gateway"])?));
    }
    let servers = list(&network["dns_nameservers"]).iter().map(address).collect::<Result<Vec<_>, _>>()?;
    config.nameservers.extend(servers);
    config.nameservers.extend(self::servers(&network["services"])?);
    Ok(())
}
