//! Packet's metadata: one bond of all interfaces.

use std::net::IpAddr;

use serde_json::Value;

use super::address::{Cidr, Mac};
use super::bond::BondOption;
use super::interface::{Child, Config, ConvertError, Interface, Link, Network, Route, check_name};

const BOND: &str = "bond0";
const PUBLIC_RESOLVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];
const PRIVATE_NETWORK: &str = "10.0.0.0/8";
/// networkd's key and value, and the parameter of the kernel module.
const OPTIONS: [(&str, &str, &str); 5] = [
    ("Mode", "802.3ad", "mode=802.3ad"),
    ("LACPTransmitRate", "fast", "lacp-rate=fast"),
    ("MIIMonitorSec", ".2", "miimon=200"),
    ("UpDelaySec", ".2", "updelay=200"),
    ("DownDelaySec", ".2", "downdelay=200"),
];

pub(super) fn convert(metadata: &Value) -> Result<Network, ConvertError> {
    let network = &metadata["network"];
    let cards = network["interfaces"].as_array().filter(|cards| !cards.is_empty());
    let cards = cards.ok_or_else(|| ConvertError::new("packet's metadata names no network interface"))?;
    let nameservers = nameservers(&network["dns"])?;
    let mut interfaces = Vec::new();
    for (index, card) in cards.iter().enumerate() {
        let name = card["name"].as_str().unwrap_or_default();
        check_name(name)?;
        let mut interface = Interface::new(name, Link::Physical);
        interface.children.push(Child::Bond(BOND.to_owned()));
        interface.depth = index;
        interface.config = Config { nameservers: nameservers.clone(), ..Config::default() };
        interfaces.push(interface);
    }
    let mac = cards.first().and_then(|card| card["mac"].as_str()).map(hardware_address).transpose()?;
    let options = OPTIONS.map(|(key, value, parameter)| BondOption {
        key,
        value: value.to_owned(),
        parameter: parameter.to_owned(),
    });
    let mut bond = Interface::new(BOND, Link::Bond { mac: mac.clone(), options: options.to_vec() });
    bond.mac = mac;
    bond.config = Config { nameservers, ..Config::default() };
    for block in network["addresses"].as_array().into_iter().flatten() {
        add_address(block, &mut bond.config)?;
    }
    interfaces.push(bond);
    Ok(Network { interfaces, notes: Vec::new() })
}

fn hardware_address(text: &str) -> Result<Mac, ConvertError> {
    Mac::parse(text).ok_or_else(|| ConvertError(format!("invalid MAC address {text:?}")))
}

fn nameservers(dns: &Value) -> Result<Vec<IpAddr>, ConvertError> {
    let given: Vec<_> = dns.as_array().into_iter().flatten().collect();
    let texts: Vec<&str> = match given.is_empty() {
        true => PUBLIC_RESOLVERS.to_vec(),
        false => given.iter().map(|server| server.as_str().unwrap_or_default()).collect(),
    };
    texts.into_iter().map(address).collect()
}

fn address(text: &str) -> Result<IpAddr, ConvertError> {
    text.parse().map_err(|_| ConvertError(format!("invalid IP address {text:?}")))
}

fn add_address(block: &Value, config: &mut Config) -> Result<(), ConvertError> {
    let text = |key: &str| block[key].as_str().unwrap_or_default();
    let cidr = Cidr::with_mask(text("address"), text("netmask"));
    let cidr = cidr.ok_or_else(|| {
        ConvertError(format!("invalid address {:?} with netmask {:?}", text("address"), text("netmask")))
    })?;
    let gateway = address(text("gateway"))?;
    // Private IPv6 addresses have no separate network and are treated as public.
    let is_public = block["public"].as_bool() == Some(true) || cidr.address.is_ipv6();
    let private = Cidr::parse(PRIVATE_NETWORK).unwrap_or(Cidr::ANY_V4);
    let destination = if is_public { Cidr::any(cidr.address) } else { private };
    config.addresses.push(cidr);
    config.routes.push(Route::new(destination, gateway));
    Ok(())
}
