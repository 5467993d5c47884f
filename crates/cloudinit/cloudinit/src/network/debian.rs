//! Debian's `/etc/network/interfaces`, to the extent that clouds use it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::address::{Cidr, Mac};
use super::bond::BondOption;
use super::interface::{
    Child, Config, ConvertError, Dhcp, Interface, Link, Network, Route, check_count, check_name, set_depths,
};

const MAX_VLAN: u16 = 4094;
/// Value of `bond-slaves` for a bond without initial slaves.
const NO_SLAVES: &str = "none";
const BOND_PREFIX: &str = "bond-";

/// An `iface` stanza and the arguments of its options; the last one of a repeated option wins.
struct Stanza {
    name: String,
    method: String,
    options: BTreeMap<String, Vec<String>>,
    /// Commands of `post-up`, which may be repeated.
    post_up: Vec<String>,
}

pub(super) fn convert(text: &str) -> Result<Network, ConvertError> {
    let mut notes = Vec::new();
    let mut stanzas: BTreeMap<String, Stanza> = BTreeMap::new();
    for stanza in parse_stanzas(text)? {
        check_count(stanzas.len())?;
        let name = stanza.name.clone();
        if stanzas.insert(name.clone(), stanza).is_some() {
            notes.push(format!("network config: of the stanzas of {name} the last counts"));
        }
    }
    let mut interfaces = BTreeMap::new();
    // Stacking of interfaces: the lower name, and the upper interface.
    let mut edges = Vec::new();
    for stanza in stanzas.values() {
        if let Some(interface) = interface(stanza, &mut edges, &mut notes)? {
            interfaces.insert(stanza.name.clone(), interface);
        }
    }
    edges.sort();
    edges.dedup();
    for (lower, child) in edges {
        check_name(&lower)?;
        check_name(child.name())?;
        let manual = || Interface::new(&*lower, Link::Physical);
        interfaces.entry(lower.clone()).or_insert_with(manual).children.push(child);
    }
    set_depths(&mut interfaces)?;
    Ok(Network { interfaces: interfaces.into_values().collect(), notes })
}

fn parse_stanzas(text: &str) -> Result<Vec<Stanza>, ConvertError> {
    let joined = text.replace("\r\n", "\n").replace("\\\n", "");
    let mut stanzas: Vec<Stanza> = Vec::new();
    let mut is_open = false;
    for line in joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut values = line.split_whitespace();
        let first = values.next().unwrap_or_default();
        let values: Vec<_> = values.map(str::to_owned).collect();
        if matches!(first, "auto" | "iface" | "mapping") || first.starts_with("allow-") {
            is_open = true;
            match (first, values.as_slice()) {
                (_, []) => return Err(ConvertError(format!("malformed stanza start {line:?}"))),
                // All described interfaces are started.
                ("auto", _) => {}
                ("iface", [name, _, method]) => stanzas.push(Stanza::new(name, method)?),
                ("iface", _) => return Err(ConvertError::new("incorrect number of attributes")),
                (other, _) => return Err(ConvertError(format!("unknown stanza {other:?}"))),
            }
            continue;
        }
        if !is_open {
            return Err(ConvertError(format!("missing stanza start {line:?}")));
        }
        // Options of `auto` before the first interface are ignored.
        let Some(stanza) = stanzas.last_mut() else { continue };
        match first {
            "post-up" => stanza.post_up.push(values.join(" ")),
            "pre-down" => {}
            _ => drop(stanza.options.insert(first.to_owned(), values)),
        }
    }
    Ok(stanzas)
}

impl Stanza {
    fn new(name: &str, method: &str) -> Result<Self, ConvertError> {
        check_name(name)?;
        let (name, method) = (name.to_owned(), method.to_owned());
        Ok(Self { name, method, options: BTreeMap::new(), post_up: Vec::new() })
    }

    fn values(&self, option: &str) -> Option<&[String]> {
        self.options.get(option).map(Vec::as_slice)
    }

    /// The argument of an option that has exactly one.
    fn value(&self, option: &str) -> Option<&str> {
        match self.values(option) {
            Some([value]) => Some(value),
            _ => None,
        }
    }

    fn hardware_address(&self) -> Result<Option<Mac>, ConvertError> {
        match self.values("hwaddress") {
            Some([kind, address]) if kind == "ether" => match Mac::parse(address) {
                Some(mac) => Ok(Some(mac)),
                None => Err(ConvertError(format!("malformed hwaddress option for {:?}", self.name))),
            },
            _ => Ok(None),
        }
    }

    fn malformed(&self) -> ConvertError {
        ConvertError(format!("malformed static network config for {:?}", self.name))
    }
}

/// Returns `None` for the loopback interface.
fn interface(
    stanza: &Stanza,
    edges: &mut Vec<(String, Child)>,
    notes: &mut Vec<String>,
) -> Result<Option<Interface>, ConvertError> {
    let name = &stanza.name;
    let config = match &*stanza.method {
        "static" => static_config(stanza)?,
        "dhcp" => Config { dhcp: Dhcp::Both, ..Config::default() },
        "manual" => Config::default(),
        "loopback" => return Ok(None),
        other => return Err(ConvertError(format!("invalid config method {other:?}"))),
    };
    let mac = stanza.hardware_address()?;
    if let Some(bond) = stanza.value("bond-master") {
        edges.push((name.clone(), Child::Bond(bond.to_owned())));
    }
    let raw_device = stanza.values("vlan_raw_device").or(stanza.values("vlan-raw-device"));
    let link = if raw_device.is_some() || name.contains('.') {
        let id = vlan_id(name).ok_or_else(|| ConvertError(format!("malformed vlan name {name:?}")))?;
        let lower = match raw_device {
            Some([lower]) => Some(&**lower),
            _ => name.rsplit_once('.').map(|(lower, _)| lower),
        };
        edges.extend(lower.map(|lower| (lower.to_owned(), Child::Vlan(name.clone()))));
        Link::Vlan { mac, id }
    } else if let Some(slaves) = stanza.values("bond-slaves") {
        check_count(slaves.len())?;
        let slaves = slaves.iter().filter(|slave| *slave != NO_SLAVES);
        edges.extend(slaves.map(|slave| (slave.clone(), Child::Bond(name.clone()))));
        Link::Bond { mac, options: bond_options(stanza, notes) }
    } else {
        if mac.is_some() {
            notes.push(format!("network config: hwaddress of {name} is ignored"));
        }
        Link::Physical
    };
    let mut interface = Interface::new(name, link);
    interface.config = config;
    Ok(Some(interface))
}

/// Parses the digits after the last dot, or after `vlan`.
fn vlan_id(name: &str) -> Option<u16> {
    let digits = match name.rsplit_once('.') {
        Some((_, digits)) => digits,
        None => name.strip_prefix("vlan")?,
    };
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|id| are_digits && *id <= MAX_VLAN)
}

fn bond_options(stanza: &Stanza, notes: &mut Vec<String>) -> Vec<BondOption> {
    let mut options = Vec::new();
    for (option, values) in &stanza.options {
        let Some(name) = option.strip_prefix(BOND_PREFIX).filter(|name| *name != "slaves") else { continue };
        match values.first().and_then(|value| BondOption::new(name, value)) {
            Some(option) => options.push(option),
            None => notes.push(format!("network config: {option} of {} is ignored", stanza.name)),
        }
    }
    options
}

fn static_config(stanza: &Stanza) -> Result<Config, ConvertError> {
    let dotted = |text: &str| text.parse::<Ipv4Addr>().is_ok();
    let mut config = Config::default();
    let (Some(address), Some(mask)) = (stanza.value("address"), stanza.value("netmask")) else {
        return Err(stanza.malformed());
    };
    let cidr = Cidr::with_mask(address, mask).filter(|_| dotted(address) && dotted(mask));
    config.addresses.push(cidr.ok_or_else(|| stanza.malformed())?);
    if let Some(gateway) = stanza.value("gateway") {
        let gateway: IpAddr = gateway.parse().map_err(|_| stanza.malformed())?;
        config.routes.push(Route::new(Cidr::any(gateway), gateway));
    }
    for server in stanza.values("dns-nameservers").unwrap_or_default() {
        config.nameservers.push(server.parse().map_err(|_| stanza.malformed())?);
    }
    config.routes.extend(stanza.post_up.iter().filter_map(|command| parse_route_add(command)));
    Ok(config)
}

/// Parses `route add -net A.B.C.D [netmask M] gw G`; other commands are ignored.
fn parse_route_add(command: &str) -> Option<Route> {
    let values: Vec<_> = command.strip_prefix("route add ")?.split_whitespace().collect();
    let after = |name: &str| values.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
    let net = after("-net")?;
    let destination = match after("netmask") {
        _ if net.contains('/') => Cidr::parse(net)?,
        Some(mask) => Cidr::with_mask(net, mask)?,
        None => return None,
    };
    Some(Route::new(destination.network(), after("gw")?.parse().ok()?))
}
