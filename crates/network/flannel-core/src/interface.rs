//! Which interface leads to the other hosts.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use regex::Regex;

use crate::device::ExternalInterface;

/// An interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index in the kernel.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its IPv4 addresses, in the kernel's order.
    pub addresses: Vec<Ipv4Net>,
}

/// How the interface is chosen, `-iface`, `-iface-regex` and `-public-ip`.
#[derive(Clone, Debug, Default)]
pub struct InterfaceChoice {
    /// Names or addresses, tried in order.
    pub names: Vec<String>,
    /// Patterns of names or addresses, tried in order after `names`.
    pub patterns: Vec<Regex>,
    /// The address for other hosts, if it is not the interface's.
    pub public_ip: Option<Ipv4Addr>,
}

/// No interface can be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[expect(missing_docs)]
pub enum InterfaceError {
    #[error(
        "Unable to find default route: set -iface to the interface that leads to the other hosts; interfaces: {0}"
    )]
    NoDefaultRoute(String),
    #[error(
        "Failed to find interface to use that matches the interfaces and/or regexes provided; interfaces: {0}"
    )]
    NoMatch(String),
    #[error("failed to find IPv4 address for interface {0}")]
    NoAddress(String),
    #[error(
        "Network {network} of the configuration overlaps {address} of interface {name}: choose another network"
    )]
    Overlap { network: Ipv4Net, address: Ipv4Net, name: String },
}

impl InterfaceChoice {
    /// Chooses among the host's interfaces; `default` is the index of the default route's.
    ///
    /// # Errors
    /// None matches, or the interface has no IPv4 address.
    pub fn choose(
        &self,
        interfaces: &[Interface],
        default: Option<u32>,
    ) -> Result<ExternalInterface, InterfaceError> {
        let (interface, address) = if self.names.is_empty() && self.patterns.is_empty() {
            let found = interfaces.iter().find(|interface| Some(interface.index) == default);
            (found.ok_or_else(|| InterfaceError::NoDefaultRoute(list(interfaces)))?, None)
        } else {
            let by_name = self.names.iter().find_map(|name| find_by_name(interfaces, name));
            let by_pattern = || self.patterns.iter().find_map(|pattern| find_by_pattern(interfaces, pattern));
            by_name.or_else(by_pattern).ok_or_else(|| InterfaceError::NoMatch(list(interfaces)))?
        };
        let address = address
            .or_else(|| preferred_address(interface))
            .ok_or_else(|| InterfaceError::NoAddress(interface.name.clone()))?;
        Ok(ExternalInterface {
            index: interface.index,
            name: interface.name.clone(),
            mtu: interface.mtu,
            address,
            public_ip: self.public_ip.unwrap_or(address),
        })
    }
}

type Found<'a> = (&'a Interface, Option<Ipv4Addr>);

fn find_by_name<'a>(interfaces: &'a [Interface], name: &str) -> Option<Found<'a>> {
    match name.parse::<Ipv4Addr>() {
        Ok(address) => interfaces
            .iter()
            .find(|interface| interface.addresses.iter().any(|one| one.addr() == address))
            .map(|interface| (interface, Some(address))),
        Err(_) => {
            interfaces.iter().find(|interface| interface.name == name).map(|interface| (interface, None))
        }
    }
}

/// Addresses match before names, as in the original.
fn find_by_pattern<'a>(interfaces: &'a [Interface], pattern: &Regex) -> Option<Found<'a>> {
    let by_address = interfaces.iter().find_map(|interface| {
        let address = preferred_address(interface)?;
        pattern.is_match(&address.to_string()).then_some((interface, Some(address)))
    });
    let by_name = || interfaces.iter().find(|interface| pattern.is_match(&interface.name));
    by_address.or_else(|| by_name().map(|interface| (interface, None)))
}

/// The first address of global scope, else a link-local one.
fn preferred_address(interface: &Interface) -> Option<Ipv4Addr> {
    let addresses = || interface.addresses.iter().map(Ipv4Net::addr);
    let global = |address: &Ipv4Addr| {
        !(address.is_link_local()
            || address.is_loopback()
            || address.is_multicast()
            || address.is_broadcast()
            || address.is_unspecified())
    };
    addresses().find(global).or_else(|| addresses().find(Ipv4Addr::is_link_local))
}

fn list(interfaces: &[Interface]) -> String {
    let one = |interface: &Interface| {
        let address =
            preferred_address(interface).map_or_else(|| "no address".to_owned(), |one| one.to_string());
        format!("{}:{address}", interface.name)
    };
    interfaces.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Refuses a network that contains the addresses through which its own packets would be sent.
///
/// # Errors
/// It does; the first address.
pub fn check_overlap(
    network: Ipv4Net,
    external: &ExternalInterface,
    interfaces: &[Interface],
) -> Result<(), InterfaceError> {
    let Some(interface) = interfaces.iter().find(|interface| interface.index == external.index) else {
        return Ok(());
    };
    match interface.addresses.iter().find(|address| crate::acquire::overlap(network, address.trunc())) {
        Some(address) => {
            Err(InterfaceError::Overlap { network, address: *address, name: interface.name.clone() })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces() -> Vec<Interface> {
        let interface = |index, name: &str, addresses: &[&str]| Interface {
            index,
            name: name.into(),
            mtu: 1500,
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        };
        vec![
            interface(1, "lo", &["127.0.0.1/8"]),
            interface(2, "eth0", &["169.254.7.7/16", "10.0.2.15/24"]),
            interface(3, "eth1", &["192.168.5.1/24", "192.168.6.1/24"]),
            interface(4, "eth2", &[]),
            interface(5, "eth3", &["169.254.9.9/16"]),
        ]
    }

    fn check(names: &[&str], patterns: &[&str], default: Option<u32>, expected: &str) {
        let choice = InterfaceChoice {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            patterns: patterns.iter().map(|pattern| Regex::new(pattern).unwrap()).collect(),
            public_ip: None,
        };
        let got = match choice.choose(&interfaces(), default) {
            Ok(external) => format!("{} {}", external.name, external.public_ip),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected, "{names:?} {patterns:?}");
    }

    #[test]
    fn choices() {
        check(&[], &[], Some(2), "eth0 10.0.2.15");
        check(&["eth1"], &[], Some(2), "eth1 192.168.5.1");
        check(&["eth9", "192.168.6.1"], &[], Some(2), "eth1 192.168.6.1");
        check(&["eth9"], &["^192\\."], Some(2), "eth1 192.168.5.1");
        check(&[], &["nothing", "eth[13]"], Some(2), "eth1 192.168.5.1");
        check(&["eth3"], &[], None, "eth3 169.254.9.9");
        check(&["eth2"], &[], None, "failed to find IPv4 address for interface eth2");
        let all = "lo:no address eth0:10.0.2.15 eth1:192.168.5.1 eth2:no address eth3:169.254.9.9";
        check(
            &[],
            &[],
            None,
            &format!(
                "Unable to find default route: set -iface to the interface that leads to the other hosts; interfaces: {all}"
            ),
        );
        check(
            &["eth9"],
            &[],
            Some(2),
            &format!(
                "Failed to find interface to use that matches the interfaces and/or regexes provided; interfaces: {all}"
            ),
        );
    }

    #[test]
    fn overlapping_networks() {
        let external = InterfaceChoice::default().choose(&interfaces(), Some(2)).unwrap();
        let check = |network: &str| check_overlap(network.parse().unwrap(), &external, &interfaces());
        assert_eq!(check("10.1.0.0/16"), Ok(()));
        assert_eq!(
            check("10.0.0.0/8").unwrap_err().to_string(),
            "Network 10.0.0.0/8 of the configuration overlaps 10.0.2.15/24 of interface eth0: choose another network"
        );
    }
}
