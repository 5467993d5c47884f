//! Version 2, which is netplan's: interfaces by id, in a mapping for each kind.

use super::stack::{Stack, bond_option};
use super::value::{Value, note, wrong};
use crate::network::address::Cidr;
use crate::network::interface::{
    Config, ConvertError, Dhcp, Interface, Link, Route, check_name, check_pattern,
};
use crate::yaml::Entry;

/// Names of parameters, and of [`BondOption`](crate::network::bond::BondOption).
const BOND_PARAMETERS: [(&str, &str); 6] = [
    ("mode", "mode"),
    ("mii_monitor_interval", "miimon"),
    ("lacp_rate", "lacp-rate"),
    ("up_delay", "updelay"),
    ("down_delay", "downdelay"),
    ("transmit_hash_policy", "xmit-hash-policy"),
];

pub(super) fn read(root: Value<'_>, stack: &mut Stack) -> Result<(), ConvertError> {
    for (kind, interfaces) in root.entries()? {
        match &*kind.key {
            "version" | "renderer" => continue,
            "ethernets" | "bonds" | "vlans" => {}
            _ => {
                note(kind.location, &kind.raw_key, &mut stack.notes);
                continue;
            }
        }
        for (id, settings) in interfaces.entries()? {
            let (kind, id) = (&*kind.key, &*id.raw_key);
            let Some(mut interface) = interface(kind, id, settings, stack)? else { continue };
            interface.config = config(kind, settings, &mut stack.notes)?;
            stack.insert(id, interface, settings)?;
        }
    }
    Ok(())
}

/// `None` if the interface cannot be found by what is supported.
fn interface(
    kind: &str,
    id: &str,
    settings: Value<'_>,
    stack: &mut Stack,
) -> Result<Option<Interface>, ConvertError> {
    let mac = || settings.get("macaddress")?.map(Value::mac).transpose();
    match kind {
        "bonds" => {
            let mut options = Vec::new();
            if let Some(parameters) = settings.get("parameters")? {
                for (parameter, value) in parameters.entries()? {
                    let name = BOND_PARAMETERS.iter().find(|(name, _)| *name == &*parameter.key);
                    options.extend(bond_option(
                        name.map_or(&*parameter.key, |(_, name)| name),
                        value,
                        &mut stack.notes,
                    ));
                }
            }
            stack.bond(id, settings.get("interfaces")?, mac()?, options).map(Some)
        }
        "vlans" => {
            let (number, link) = (settings.get("id")?, settings.get("link")?);
            stack.vlan(id, number, link, mac()?, settings).map(Some)
        }
        _ => ethernet(id, settings, &mut stack.notes),
    }
}

fn ethernet(
    id: &str,
    settings: Value<'_>,
    notes: &mut Vec<String>,
) -> Result<Option<Interface>, ConvertError> {
    if let Some(mac) = settings.get("macaddress")? {
        note(mac.0.location, "changing a MAC address", notes);
    }
    let Some(wanted) = settings.get("match")? else {
        check_name(id)?;
        return Ok(Some(Interface::new(id, Link::Physical)));
    };
    let mut interface = Interface::new("", Link::Physical);
    for (key, value) in wanted.entries()? {
        match &*key.key {
            "name" => {
                check_pattern(value.text()?)?;
                value.text()?.clone_into(&mut interface.name);
            }
            "macaddress" => interface.mac = Some(value.mac()?),
            _ => {
                // Without the condition, others would be configured, too.
                note(key.location, &format!("{id:?}, which is matched by {},", key.raw_key), notes);
                return Ok(None);
            }
        }
    }
    if interface.name.is_empty() && interface.mac.is_none() {
        return Err(wrong(wanted.0.location, "match has neither name nor macaddress"));
    }
    Ok(Some(interface))
}

fn config(kind: &str, settings: Value<'_>, notes: &mut Vec<String>) -> Result<Config, ConvertError> {
    let mut config = Config::default();
    let (mut v4, mut v6) = (false, false);
    for (key, value) in settings.entries()? {
        match &*key.key {
            "dhcp4" => v4 = value.boolean()?,
            "dhcp6" => v6 = value.boolean()?,
            "accept_ra" if value.boolean()? => config.accept_ra = true,
            "mtu" => config.mtu = Some(value.number()?),
            "addresses" => {
                config.addresses =
                    value.list()?.map(|item| address(item, notes)).collect::<Result<_, _>>()?;
            }
            "gateway4" | "gateway6" => {
                let gateway = value.address()?;
                config.routes.push(Route::new(Cidr::any(gateway), gateway));
            }
            "nameservers" => nameservers(value, &mut config, notes)?,
            "routes" => {
                for item in value.list()? {
                    config.routes.extend(route(item, notes)?);
                }
            }
            // Nothing waits for an interface.
            "optional" | "renderer" => {}
            "match" | "macaddress" if kind == "ethernets" => {}
            "interfaces" | "parameters" | "macaddress" if kind == "bonds" => {}
            "id" | "link" | "macaddress" if kind == "vlans" => {}
            _ => unsupported(key, notes),
        }
    }
    config.dhcp = match (v4, v6) {
        (false, false) => Dhcp::No,
        (true, false) => Dhcp::V4,
        (false, true) => Dhcp::V6,
        (true, true) => Dhcp::Both,
    };
    Ok(config)
}

fn unsupported(key: &Entry, notes: &mut Vec<String>) {
    note(key.location, &key.raw_key, notes);
}

/// An address, or a mapping of the address to its options.
fn address(item: Value<'_>, notes: &mut Vec<String>) -> Result<Cidr, ConvertError> {
    let Some(options) = item.0.mapping() else { return item.cidr(None) };
    let [entry] = options.entries() else { return Err(wrong(item.0.location, "this is no address")) };
    note(entry.location, &format!("options of address {:?}", entry.raw_key), notes);
    Cidr::parse(&entry.raw_key)
        .ok_or_else(|| wrong(entry.location, "this is no address with a prefix length"))
}

fn nameservers(value: Value<'_>, config: &mut Config, notes: &mut Vec<String>) -> Result<(), ConvertError> {
    for (key, value) in value.entries()? {
        match &*key.key {
            "addresses" => config.nameservers = value.addresses()?,
            "search" => config.domains = value.domains()?,
            _ => unsupported(key, notes),
        }
    }
    Ok(())
}

/// `None` with an option that is not supported: without it, the route may be that of other packets.
fn route(value: Value<'_>, notes: &mut Vec<String>) -> Result<Option<Route>, ConvertError> {
    let (Some(to), Some(via)) = (value.get("to")?, value.get("via")?) else {
        return Err(wrong(value.0.location, "a route needs to and via"));
    };
    let gateway = via.address()?;
    let mut route = Route::new(to.destination(None, gateway)?, gateway);
    for (key, value) in value.entries()? {
        match &*key.key {
            "to" | "via" => {}
            "metric" => route.metric = Some(value.number()?),
            "on_link" => route.on_link = value.boolean()?,
            _ => {
                note(key.location, &format!("a route with {}", key.raw_key), notes);
                return Ok(None);
            }
        }
    }
    Ok(Some(route))
}
