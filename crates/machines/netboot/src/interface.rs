//! The network interface whose machines boot.

use std::io;
use std::net::Ipv4Addr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// An IPv4 address of an interface that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// `eth0`
    pub name: String,
    /// Its own address.
    pub address: Ipv4Addr,
    /// The network's mask.
    pub mask: Ipv4Addr,
}

/// Why no interface can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ChooseError {
    #[error("no interface of this host has the address {wanted}; it has {}", list(.all))]
    Address { wanted: Ipv4Addr, all: Vec<Interface> },
    #[error("this host has several addresses: select one with --address ({})", list(.0))]
    Several(Vec<Interface>),
    #[error("this host has no IPv4 address but that of the loopback interface: set one with --address")]
    None,
}

fn list(all: &[Interface]) -> String {
    let texts = all.iter().map(|one| format!("{} on {}", one.address, one.name));
    texts.collect::<Vec<_>>().join(", ")
}

/// All IPv4 addresses.
///
/// # Errors
/// The kernel does not list them.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let all = getifaddrs()?.filter(|one| one.flags.contains(InterfaceFlags::IFF_UP));
    let interface = all.filter_map(|one| {
        let address = one.address?.as_sockaddr_in()?.ip();
        let mask = one.netmask?.as_sockaddr_in()?.ip();
        Some(Interface { name: one.interface_name, address, mask })
    });
    Ok(interface.collect())
}

/// The interface with this address, or else the only one that machines can reach.
///
/// # Errors
/// There is none, or several.
pub fn choose(all: &[Interface], wanted: Option<Ipv4Addr>) -> Result<Interface, ChooseError> {
    if let Some(wanted) = wanted {
        let found = all.iter().find(|one| one.address == wanted).cloned();
        return found.ok_or_else(|| ChooseError::Address { wanted, all: all.to_vec() });
    }
    let reachable: Vec<_> = all.iter().filter(|one| !one.address.is_loopback()).cloned().collect();
    match reachable.as_slice() {
        [] => Err(ChooseError::None),
        [one] => Ok(one.clone()),
        _ => Err(ChooseError::Several(reachable)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_address_is_chosen() {
        let interface = |name: &str, last| Interface {
            name: name.to_owned(),
            address: Ipv4Addr::new(if name == "lo" { 127 } else { 10 }, 0, 0, last),
            mask: Ipv4Addr::new(255, 0, 0, 0),
        };
        let (lo, a, b) = (interface("lo", 1), interface("eth0", 2), interface("eth1", 3));
        assert_eq!(choose(&[lo.clone(), a.clone()], None), Ok(a.clone()));
        assert_eq!(choose(std::slice::from_ref(&lo), None), Err(ChooseError::None));
        assert_eq!(choose(&[lo.clone(), a.clone()], Some(lo.address)), Ok(lo.clone()));
        let error = choose(&[lo.clone(), a.clone(), b.clone()], None).unwrap_err();
        assert!(error.to_string().ends_with("--address (10.0.0.2 on eth0, 10.0.0.3 on eth1)"), "{error}");
        assert_eq!(choose(&[a.clone(), b.clone()], Some(b.address)), Ok(b));
        let error = choose(&[lo, a], Some(Ipv4Addr::new(192, 0, 2, 1))).unwrap_err();
        assert!(error.to_string().contains("10.0.0.2 on eth0"), "{error}");
    }

    #[test]
    fn the_loopback_interface_is_listed() {
        let all = interfaces().unwrap();
        assert!(all.iter().any(|one| one.address == Ipv4Addr::LOCALHOST), "{all:?}");
    }
}
