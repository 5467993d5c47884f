//! The IPv4 address by which other nodes reach this machine.
//!
//! It is the address of the LAN interface if the host configures one, else that of the default route. The host
//! marks the LAN with a networkd file `*-lan.network` in `/run/systemd/network`, matched by `MACAddress=` or
//! `Name=`: in QEMU the default route leads to the user network, which has no other nodes.

mod wait;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};

use crate::root::Root;

pub use wait::wait_for;

const LAN_FILES: &str = "/run/systemd/network";
const LAN_SUFFIX: &str = "-lan.network";
const ROUTES: &str = "/proc/net/route";
/// `RTF_UP` of `/proc/net/route`.
const RTF_UP: u32 = 1;

/// A snapshot of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// The interface that the host marked as the LAN; `Some("")` if it does not exist (yet).
    pub lan: Option<String>,
    /// The text of `/proc/net/route`.
    pub routes: String,
    /// Addresses by interface, in the kernel's order.
    pub addresses: BTreeMap<String, Vec<Ipv4Addr>>,
}

/// The address, its interface, and why it was chosen, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAddress {
    pub address: Ipv4Addr,
    pub interface: String,
    pub reason: &'static str,
}

impl Network {
    /// Reads files below `root`; interfaces are always the machine's own.
    pub fn observe(root: &Root) -> Self {
        let interfaces = interfaces();
        Self {
            lan: lan_interface(root, &interfaces.hardware),
            routes: fs::read_to_string(root.at(ROUTES)).unwrap_or_default(),
            addresses: interfaces.addresses,
        }
    }

    /// The address of the configured network, `None` until it is complete.
    pub fn preferred(&self) -> Option<NodeAddress> {
        match &self.lan {
            Some(interface) => self.address_of(interface, "LAN"),
            None => self.default_route(),
        }
    }

    /// The best address so far: a LAN that is not up does not hide the default route.
    pub fn best_available(&self) -> Option<NodeAddress> {
        self.preferred().or_else(|| self.default_route())
    }

    /// This address, if an interface has it.
    pub fn with_address(&self, address: Ipv4Addr, reason: &'static str) -> Option<NodeAddress> {
        let (interface, _) = self.addresses.iter().find(|(_, addresses)| addresses.contains(&address))?;
        Some(NodeAddress { address, interface: interface.clone(), reason })
    }

    fn default_route(&self) -> Option<NodeAddress> {
        self.address_of(default_interface(&self.routes)?, "default route")
    }

    fn address_of(&self, interface: &str, reason: &'static str) -> Option<NodeAddress> {
        let addresses = self.addresses.get(interface)?;
        // A link-local address indicates a missing DHCP server.
        let routable = addresses.iter().find(|address| !address.is_link_local());
        routable.map(|address| NodeAddress { address: *address, interface: interface.to_owned(), reason })
    }
}

/// The interface of the default route with the lowest metric.
fn default_interface(routes: &str) -> Option<&str> {
    let lines = routes.lines().skip(1);
    let defaults = lines.filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [interface, destination, _gateway, flags, _, _, metric, mask, ..] = fields[..] else {
            return None;
        };
        let up = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & RTF_UP != 0);
        let is_default = destination == "00000000" && mask == "00000000";
        (up && is_default).then_some((metric.parse::<u32>().ok()?, interface))
    });
    // The first of equal metrics, like the kernel.
    defaults.min_by_key(|(metric, _)| *metric).map(|(_, interface)| interface)
}

/// Each address of either family, with its interface.
pub fn of_interfaces() -> Result<Vec<(String, IpAddr)>> {
    let list = nix::ifaddrs::getifaddrs().context("cannot list the addresses of the interfaces")?;
    let with_ip = list.filter_map(|entry| {
        let address = entry.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let ip = v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))?;
        Some((entry.interface_name, ip))
    });
    Ok(with_ip.collect())
}

#[derive(Default)]
struct Interfaces {
    addresses: BTreeMap<String, Vec<Ipv4Addr>>,
    /// Name and MAC address in networkd's format.
    hardware: Vec<(String, String)>,
}

/// Uses netlink, not sysfs: a container may see the `/sys` of another network namespace.
fn interfaces() -> Interfaces {
    let mut found = Interfaces::default();
    let list = match nix::ifaddrs::getifaddrs() {
        Ok(list) => list,
        Err(error) => {
            eprintln!("cannot list the addresses of the interfaces: {error}");
            return found;
        }
    };
    for entry in list {
        let Some(address) = entry.address else { continue };
        if let Some(at) = address.as_sockaddr_in() {
            found.addresses.entry(entry.interface_name).or_default().push(at.ip());
        } else if let Some(mac) = address.as_link_addr().and_then(|link| link.addr()) {
            let mac: Vec<_> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
            found.hardware.push((entry.interface_name, mac.join(":")));
        }
    }
    found
}

/// The interface matched by the first `*-lan.network` file.
fn lan_interface(root: &Root, interfaces: &[(String, String)]) -> Option<String> {
    let folder = fs::read_dir(root.at(LAN_FILES)).ok()?;
    let mut files: Vec<_> = folder.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(LAN_SUFFIX)));
    files.sort();
    let text = fs::read_to_string(files.first()?).ok()?;
    Some(match_interface(&text, interfaces).unwrap_or_default())
}

/// The interface that `[Match]` selects. Globs are not supported: hosts write full names.
fn match_interface(file: &str, interfaces: &[(String, String)]) -> Option<String> {
    let lines = file.lines().map(str::trim).skip_while(|line| *line != "[Match]").skip(1);
    for line in lines.take_while(|line| !line.starts_with('[')) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let mut values = value.split_whitespace();
        let found = match key.trim() {
            "MACAddress" => values
                .find_map(|mac| interfaces.iter().find(|(_, address)| address.eq_ignore_ascii_case(mac))),
            "Name" => values.find_map(|name| interfaces.iter().find(|(interface, _)| interface == name)),
            _ => None,
        };
        if let Some((name, _)) = found {
            return Some(name.clone());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn network(lan: Option<&str>, routes: &str) -> Network {
        let addresses = [
            ("user", vec![Ipv4Addr::new(10, 0, 2, 15)]),
            ("lan", vec![Ipv4Addr::new(169, 254, 3, 4), Ipv4Addr::new(10, 77, 0, 11)]),
            ("lonely", vec![Ipv4Addr::new(169, 254, 3, 5)]),
        ];
        Network {
            lan: lan.map(Into::into),
            routes: format!("{HEAD}{routes}"),
            addresses: addresses.into_iter().map(|(name, list)| (name.to_owned(), list)).collect(),
        }
    }

    fn check(network: &Network, preferred: Option<&str>, best_available: Option<&str>) {
        let format_address = |found: Option<NodeAddress>| found.map(|found| found.address.to_string());
        assert_eq!(format_address(network.preferred()).as_deref(), preferred);
        assert_eq!(format_address(network.best_available()).as_deref(), best_available);
    }

    #[test]
    fn lowest_metric_wins() {
        let routes = "lan 00000000 014D000A 0003 0 0 1024 00000000 0 0 0\n\
                      user 00000000 0202000A 0003 0 0 100 00000000 0 0 0\n\
                      lan 0000000A 00000000 0001 0 0 0 000000FF 0 0 0\n";
        check(&network(None, routes), Some("10.0.2.15"), Some("10.0.2.15"));
        let down = "user 00000000 0202000A 0002 0 0 100 00000000 0 0 0\n";
        check(&network(None, down), None, None);
        check(&network(None, ""), None, None);
    }

    #[test]
    fn lan_is_preferred_and_awaited() {
        let routes = "user 00000000 0202000A 0003 0 0 100 00000000 0 0 0\n";
        check(&network(Some("lan"), routes), Some("10.77.0.11"), Some("10.77.0.11"));
        check(&network(Some("lan"), ""), Some("10.77.0.11"), Some("10.77.0.11"));
        check(&network(Some(""), routes), None, Some("10.0.2.15"));
    }

    #[test]
    fn link_local_addresses_are_ignored() {
        check(&network(None, "lonely 00000000 0202000A 0003 0 0 100 00000000 0 0 0\n"), None, None);
    }

    #[test]
    fn lan_is_found_by_its_networkd_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        let interfaces = [("enp0s2", "52:54:00:12:34:56"), ("enp0s3", "52:54:00:aa:bb:0b")]
            .map(|(name, mac)| (name.to_owned(), mac.to_owned()));
        assert_eq!(lan_interface(&root, &interfaces), None);
        fs::create_dir_all(root.at(LAN_FILES)).unwrap();
        let file = root.at(LAN_FILES).join("70-lan.network");
        let check_file = |text: &str, expected: &str| {
            fs::write(&file, text).unwrap();
            assert_eq!(lan_interface(&root, &interfaces).as_deref(), Some(expected), "{text}");
        };
        check_file("[Match]\nMACAddress=52:54:00:AA:bb:0b\n\n[Network]\nAddress=10.77.0.11/24\n", "enp0s3");
        check_file("[Match]\nName=enp0s9 enp0s2\n", "enp0s2");
        check_file("[Match]\n\n[Network]\nName=enp0s2\n", "");
    }

    /// Present on every Linux host, with this address and a zero MAC.
    #[test]
    fn loopback_is_listed() {
        let found = interfaces();
        assert_eq!(found.addresses["lo"][0], Ipv4Addr::LOCALHOST);
        assert!(
            found.hardware.contains(&("lo".to_owned(), "00:00:00:00:00:00".to_owned())),
            "{:?}",
            found.hardware
        );
    }
}
