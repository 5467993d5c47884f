//! VMware's guestinfo keys, without the prefix.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::address::{Cidr, Mac};
use super::interface::{Config, ConvertError, Dhcp, Interface, Link, Network, Route, check_name};
use crate::limits::{MAX_INTERFACES, MAX_NETWORK_ENTRIES};

type Keys = BTreeMap<String, String>;

pub(super) fn convert(keys: &Keys) -> Result<Network, ConvertError> {
    let nameservers = indexed_values(keys, "dns.server.", "")
        .map(|(_, server)| address(server))
        .collect::<Result<Vec<_>, _>>()?;
    let domains: Vec<_> =
        indexed_values(keys, "dns.domain.", "").map(|(_, domain)| domain.to_owned()).collect();
    // The value becomes one item of a space-separated list in a networkd file.
    let breaks = |c: char| c.is_whitespace() || c.is_control();
    if let Some(bad) = domains.iter().find(|domain| domain.contains(breaks)) {
        return Err(ConvertError(format!("invalid domain {bad:?}")));
    }
    let mut interfaces = Vec::new();
    for index in 0..=MAX_INTERFACES {
        let prefix = format!("interface.{index}.");
        let addresses = addresses(keys, &prefix)?;
        let routes = routes(keys, &prefix)?;
        let dhcp = dhcp(keys, &prefix)?;
        if addresses.is_empty() && routes.is_empty() && dhcp == Dhcp::No {
            break;
        }
        let name = get(keys, &format!("{prefix}name")).unwrap_or_default();
        let mut interface = Interface::new(name, Link::Physical);
        interface.mac = get(keys, &format!("{prefix}mac"))
            .map(|text| Mac::parse(text).ok_or_else(|| ConvertError(format!("invalid MAC address {text:?}"))))
            .transpose()?;
        if interface.mac.is_none() || !name.is_empty() {
            check_name(name)?;
        }
        interface.config = Config { dhcp, addresses, routes, ..Config::default() };
        interface.config.nameservers.clone_from(&nameservers);
        interface.config.domains.clone_from(&domains);
        interfaces.push(interface);
    }
    Ok(Network { interfaces, notes: Vec::new() })
}

fn get<'a>(keys: &'a Keys, key: &str) -> Option<&'a str> {
    keys.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// The values of `<before>0<after>`, `<before>1<after>` and so on, up to the first missing one.
fn indexed_values<'a>(keys: &'a Keys, before: &str, after: &str) -> impl Iterator<Item = (usize, &'a str)> {
    (0..MAX_NETWORK_ENTRIES)
        .map_while(move |index| Some((index, get(keys, &format!("{before}{index}{after}"))?)))
}

fn address(text: &str) -> Result<IpAddr, ConvertError> {
    text.parse().map_err(|_| ConvertError(format!("invalid IP address {text:?}")))
}

fn cidr(text: &str) -> Result<Cidr, ConvertError> {
    Cidr::parse(text).ok_or_else(|| ConvertError(format!("invalid CIDR address: {text}")))
}

fn addresses(keys: &Keys, prefix: &str) -> Result<Vec<Cidr>, ConvertError> {
    indexed_values(keys, &format!("{prefix}ip."), ".address").map(|(_, text)| cidr(text)).collect()
}

fn routes(keys: &Keys, prefix: &str) -> Result<Vec<Route>, ConvertError> {
    let mut routes = Vec::new();
    for index in 0..MAX_NETWORK_ENTRIES {
        let part = |name: &str| get(keys, &format!("{prefix}route.{index}.{name}"));
        match (part("gateway"), part("destination")) {
            (None, None) => break,
            (Some(_), None) => return Err(ConvertError::new("missing destination key")),
            (None, Some(_)) => return Err(ConvertError::new("missing gateway key")),
            (Some(gateway), Some(destination)) => {
                routes.push(Route::new(cidr(destination)?.network(), address(gateway)?))
            }
        }
    }
    Ok(routes)
}

fn dhcp(keys: &Keys, prefix: &str) -> Result<Dhcp, ConvertError> {
    match get(keys, &format!("{prefix}dhcp")) {
        Some("yes") => Ok(Dhcp::Both),
        None | Some("no") => Ok(Dhcp::No),
        Some(other) => Err(ConvertError(format!("invalid DHCP option: {other:?}"))),
    }
}
