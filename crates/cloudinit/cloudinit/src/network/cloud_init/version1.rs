//! Version 1: a list of interfaces, name servers and routes.

use std::net::IpAddr;

use super::stack::{Stack, bond_option};
use super::value::{Value, note, wrong};
use crate::network::address::Cidr;
use crate::network::interface::{Config, ConvertError, Dhcp, Interface, Link, Route, check_name};
use crate::yaml::Location;

/// What is not part of an interface, with its line.
#[derive(Default)]
struct Global {
    nameservers: Vec<IpAddr>,
    domains: Vec<String>,
    routes: Vec<(Location, Route)>,
}

pub(super) fn read(root: Value<'_>, stack: &mut Stack) -> Result<(), ConvertError> {
    let mut global = Global::default();
    let Some(config) = root.get("config")? else { return Ok(()) };
    if config.0.scalar().is_some_and(|scalar| &*scalar.text == "disabled") {
        return Ok(());
    }
    for item in config.list()? {
        let Some(kind) = item.get("type")? else { return Err(wrong(item.0.location, "type is missing")) };
        match kind.text()? {
            "nameserver" => nameserver(item, &mut global, stack)?,
            "route" => global.routes.push((item.0.location, route(item, &mut stack.notes)?)),
            "physical" | "bond" | "vlan" => interface(kind.text()?, item, stack)?,
            "loopback" => {}
            other => note(item.0.location, &format!("type {other:?}"), &mut stack.notes),
        }
    }
    apply(global, stack);
    Ok(())
}

fn interface(kind: &str, item: Value<'_>, stack: &mut Stack) -> Result<(), ConvertError> {
    let Some(name) = item.get("name")? else { return Err(wrong(item.0.location, "name is missing")) };
    let name = name.text()?;
    let mac = item.get("mac_address")?.map(Value::mac).transpose()?;
    let known: &[&str] = match kind {
        "bond" => &["bond_interfaces", "params"],
        "vlan" => &["vlan_id", "vlan_link"],
        _ => &[],
    };
    let mut interface = match kind {
        "bond" => {
            let mut options = Vec::new();
            if let Some(parameters) = item.get("params")? {
                for (key, value) in parameters.entries()? {
                    let option = key.key.strip_prefix("bond_").unwrap_or(&key.key).replace('_', "-");
                    options.extend(bond_option(&option, value, &mut stack.notes));
                }
            }
            stack.bond(name, item.get("bond_interfaces")?, mac, options)?
        }
        "vlan" => stack.vlan(name, item.get("vlan_id")?, item.get("vlan_link")?, mac, item)?,
        _ => {
            // An interface with a MAC address is found by it: its name is what it is to be called.
            let mut card = Interface::new(if mac.is_some() { "" } else { name }, Link::Physical);
            if mac.is_none() {
                check_name(name)?;
            }
            card.mac = mac;
            card
        }
    };
    for (key, value) in item.entries()? {
        match &*key.key {
            "type" | "name" | "mac_address" => {}
            "mtu" => interface.config.mtu = Some(value.number()?),
            "subnets" => {
                for subnet in value.list()? {
                    add_subnet(subnet, &mut interface.config, &mut stack.notes)?;
                }
            }
            key if known.contains(&key) => {}
            _ => note(key.location, &key.raw_key, &mut stack.notes),
        }
    }
    stack.insert(name, interface, item)
}

fn add_subnet(subnet: Value<'_>, config: &mut Config, notes: &mut Vec<String>) -> Result<(), ConvertError> {
    let Some(kind) = subnet.get("type")? else { return Err(wrong(subnet.0.location, "type is missing")) };
    match kind.text()? {
        "dhcp" | "dhcp4" => config.dhcp = config.dhcp.with(Dhcp::V4),
        "dhcp6" | "ipv6_dhcpv6-stateful" => config.dhcp = config.dhcp.with(Dhcp::V6),
        "ipv6_slaac" | "ipv6_dhcpv6-stateless" => config.accept_ra = true,
        "static" | "static6" => {
            let Some(address) = subnet.get("address")? else {
                return Err(wrong(subnet.0.location, "address is missing"));
            };
            config.addresses.push(address.cidr(subnet.get("netmask")?)?);
        }
        "manual" => {}
        other => note(kind.0.location, &format!("subnet of type {other:?}"), notes),
    }
    for (key, value) in subnet.entries()? {
        match &*key.key {
            "type" | "address" | "netmask" | "control" => {}
            "gateway" => {
                let gateway = value.address()?;
                config.routes.push(Route::new(Cidr::any(gateway), gateway));
            }
            "dns_nameservers" => config.nameservers.extend(value.addresses()?),
            "dns_search" => config.domains.extend(value.domains()?),
            "routes" => {
                for item in value.list()? {
                    config.routes.push(route(item, notes)?);
                }
            }
            _ => note(key.location, &key.raw_key, notes),
        }
    }
    Ok(())
}

fn route(item: Value<'_>, notes: &mut Vec<String>) -> Result<Route, ConvertError> {
    let to = item.get("network")?.or(item.get("destination")?);
    let (Some(to), Some(gateway)) = (to, item.get("gateway")?) else {
        return Err(wrong(item.0.location, "a route needs a destination and a gateway"));
    };
    let gateway = gateway.address()?;
    let mut route = Route::new(to.destination(item.get("netmask")?, gateway)?, gateway);
    for (key, value) in item.entries()? {
        match &*key.key {
            "type" | "network" | "destination" | "netmask" | "gateway" => {}
            "metric" => route.metric = Some(value.number()?),
            _ => note(key.location, &key.raw_key, notes),
        }
    }
    Ok(route)
}

fn nameserver(item: Value<'_>, global: &mut Global, stack: &mut Stack) -> Result<(), ConvertError> {
    for (key, value) in item.entries()? {
        match &*key.key {
            "type" => {}
            "address" => global.nameservers.extend(value.addresses()?),
            "search" => global.domains.extend(value.domains()?),
            // The server is then one of all interfaces.
            _ => note(key.location, &key.raw_key, &mut stack.notes),
        }
    }
    Ok(())
}

/// Servers are those of all interfaces with addresses; a route is that of the interface which reaches its gateway.
fn apply(global: Global, stack: &mut Stack) {
    let is_addressed = |config: &Config| !config.addresses.is_empty() || config.dhcp != Dhcp::No;
    for interface in stack.interfaces.values_mut().filter(|interface| is_addressed(&interface.config)) {
        interface.config.nameservers.extend(&global.nameservers);
        interface.config.domains.extend(global.domains.iter().cloned());
    }
    for (at, route) in global.routes {
        let reaches = |cidr: &Cidr| {
            cidr.address.is_ipv4() == route.gateway.is_ipv4()
                && Cidr { address: route.gateway, ..*cidr }.network() == cidr.network()
        };
        let found = stack.interfaces.values_mut().find(|one| one.config.addresses.iter().any(reaches));
        match found {
            Some(interface) => interface.config.routes.push(route),
            None => note(at, "a route whose gateway no interface reaches", &mut stack.notes),
        }
    }
}
