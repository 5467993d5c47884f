//! Facts about the machine.

use std::{fs, net::Ipv4Addr, path::Path, time::Duration};

use flannel_core::MacAddress;
use ipnet::Ipv4Net;
use sha2::{Digest, Sha256};

/// A MAC address that is the same after every boot of the machine, so that peers keep their entries. The public
/// address distinguishes machines that were cloned with their machine id.
pub fn stable_mac(device: &str, public_ip: Ipv4Addr) -> MacAddress {
    let seed = match fs::read_to_string("/etc/machine-id") {
        Ok(id) if id.trim().len() == 32 => Sha256::new()
            .chain_update(b"flannel")
            .chain_update(id.trim())
            .chain_update(device)
            .chain_update(public_ip.octets())
            .finalize()
            .into(),
        // A machine without an id, such as in its first boot: peers follow a changed address.
        _ => {
            let mut random = [0; 32];
            fastrand::fill(&mut random);
            random
        }
    };
    let [a, b, c, d, e, last, ..] = seed;
    MacAddress::local([a, b, c, d, e, last])
}

/// Whether containers of this host use a subnet: a bridge with an address in it has a port.
pub fn is_in_use(subnet: Ipv4Net, bridges: &[(String, Vec<Ipv4Net>)]) -> bool {
    bridges
        .iter()
        .filter(|(_, addresses)| addresses.iter().any(|address| subnet.contains(&address.addr())))
        .any(|(name, _)| has_ports(name))
}

fn has_ports(bridge: &str) -> bool {
    let ports = Path::new("/sys/class/net").join(bridge).join("brif");
    fs::read_dir(ports).is_ok_and(|mut ports| ports.next().is_some())
}

/// Time since the boot, including suspend: a lease ends in the store while the machine sleeps.
pub fn now() -> Duration {
    match nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME) {
        Ok(time) => Duration::from(time),
        // invariant: every kernel since 2.6.39 has the clock.
        Err(_) => Duration::ZERO,
    }
}
