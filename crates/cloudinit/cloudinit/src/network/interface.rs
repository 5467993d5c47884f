//! The common model of all network descriptions: interfaces, how they are stacked, and their addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::address::{Cidr, Mac};
use super::bond::BondOption;
use crate::limits::{MAX_INTERFACE_NAME_BYTES, MAX_INTERFACES, MAX_NETWORK_ENTRIES, MAX_PATTERN_BYTES};

/// The reason why a description cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConvertError(pub String);

impl ConvertError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// All interfaces to configure, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    pub interfaces: Vec<Interface>,
    /// Log lines about ignored options.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Empty if the interface is matched by MAC address only; a shell pattern for some of cloud-init's.
    pub name: String,
    /// MAC address to match, in addition to the name.
    pub mac: Option<Mac>,
    pub link: Link,
    /// Upper interfaces, such as bonds and VLANs.
    pub children: Vec<Child>,
    /// Distance to the topmost interface, which has depth 0.
    pub depth: usize,
    pub config: Config,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    Physical,
    Bond { mac: Option<Mac>, options: Vec<BondOption> },
    Vlan { mac: Option<Mac>, id: u16 },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Child {
    Bond(String),
    Vlan(String),
}

/// The addressing of an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub dhcp: Dhcp,
    /// Configures addresses from router advertisements only.
    pub accept_ra: bool,
    pub mtu: Option<u32>,
    pub domains: Vec<String>,
    pub nameservers: Vec<IpAddr>,
    pub addresses: Vec<Cidr>,
    pub routes: Vec<Route>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dhcp {
    #[default]
    No,
    V4,
    V6,
    Both,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub destination: Cidr,
    pub gateway: IpAddr,
    pub metric: Option<u32>,
    /// The gateway is reached without an address of its network.
    pub on_link: bool,
}

impl Route {
    pub fn new(destination: Cidr, gateway: IpAddr) -> Self {
        Self { destination, gateway, metric: None, on_link: false }
    }
}

impl Dhcp {
    /// Both, or the other one.
    pub(super) fn with(self, other: Self) -> Self {
        if self == Self::No || self == other { other } else { Self::Both }
    }
}

impl Child {
    pub fn name(&self) -> &str {
        match self {
            Self::Bond(name) | Self::Vlan(name) => name,
        }
    }
}

impl Interface {
    pub fn new(name: impl Into<String>, link: Link) -> Self {
        let name = name.into();
        Self { name, mac: None, link, children: Vec::new(), depth: 0, config: Config::default() }
    }
}

/// Requires a name that is valid for the kernel, as a file name, and literally in networkd's `Name=`.
pub(super) fn check_name(name: &str) -> Result<(), ConvertError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | '+');
    let fits = !name.is_empty() && name.len() <= MAX_INTERFACE_NAME_BYTES;
    if fits && name.chars().all(plain) && !name.starts_with(['-', '.']) {
        return Ok(());
    }
    Err(ConvertError(format!("invalid interface name {name:?}")))
}

/// Requires a shell pattern of names, one item of networkd's `Name=`.
pub(super) fn check_pattern(pattern: &str) -> Result<(), ConvertError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_@+*?[]!".contains(c);
    let fits = !pattern.is_empty() && pattern.len() <= MAX_PATTERN_BYTES;
    // networkd inverts a list that starts so.
    if fits && pattern.chars().all(plain) && !pattern.starts_with(['-', '.', '!']) {
        return Ok(());
    }
    Err(ConvertError(format!("invalid pattern of interface names {pattern:?}")))
}

pub(super) fn check_count(interfaces: usize) -> Result<(), ConvertError> {
    if interfaces > MAX_INTERFACES {
        return Err(ConvertError(format!("more than {MAX_INTERFACES} interfaces")));
    }
    Ok(())
}

/// Limits the number and the size of the resulting files.
pub(super) fn check_size(interfaces: &[Interface]) -> Result<(), ConvertError> {
    check_count(interfaces.len())?;
    let entries = |interface: &Interface| {
        let Config { domains, nameservers, addresses, routes, .. } = &interface.config;
        domains.len() + nameservers.len() + addresses.len() + routes.len() + interface.children.len()
    };
    if interfaces.iter().map(entries).sum::<usize>() > MAX_NETWORK_ENTRIES {
        return Err(ConvertError(format!("more than {MAX_NETWORK_ENTRIES} addresses, routes and servers")));
    }
    Ok(())
}

/// Computes all depths from `children`.
pub(super) fn set_depths(interfaces: &mut BTreeMap<String, Interface>) -> Result<(), ConvertError> {
    check_count(interfaces.len())?;
    let mut depths = BTreeMap::new();
    for name in interfaces.keys() {
        depth(name, interfaces, &mut depths)?;
    }
    for (name, interface) in interfaces {
        interface.depth = depths.get(name).copied().flatten().unwrap_or_default();
    }
    Ok(())
}

/// Recursion is at most as deep as the number of interfaces. `depths` has `None` for interfaces in progress.
fn depth(
    name: &str,
    interfaces: &BTreeMap<String, Interface>,
    depths: &mut BTreeMap<String, Option<usize>>,
) -> Result<usize, ConvertError> {
    match depths.get(name) {
        Some(Some(depth)) => return Ok(*depth),
        Some(None) => return Err(ConvertError(format!("interface {name:?} stands on itself"))),
        None => {}
    }
    depths.insert(name.to_owned(), None);
    let mut deepest = 0;
    for child in interfaces.get(name).iter().flat_map(|interface| &interface.children) {
        deepest = deepest.max(depth(child.name(), interfaces, depths)? + 1);
    }
    depths.insert(name.to_owned(), Some(deepest));
    Ok(deepest)
}
