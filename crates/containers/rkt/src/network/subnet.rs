//! The subnets of pods: rkt's default, and flannel's lease.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::run_file;

const FLANNEL_FILE: &str = "/run/flannel/subnet.env";
/// Overrides the file, for tests.
const FLANNEL_VARIABLE: &str = "RKT_FLANNEL_SUBNET_FILE";
const MAX_FILE: u64 = 64 << 10;
const ETHERNET_MTU: u32 = 1500;

/// A bridge's subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    pub name: &'static str,
    pub bridge: &'static str,
    pub gateway: Ipv4Addr,
    pub prefix: u8,
    pub mtu: u32,
    /// Whether packets to other networks get the host's address.
    pub masquerade: bool,
    /// Networks whose hosts know the pods' addresses.
    pub network: (Ipv4Addr, u8),
}

impl Subnet {
    pub fn default_network() -> Self {
        let gateway = Ipv4Addr::new(172, 16, 28, 1);
        Self {
            name: "default",
            bridge: "rkt0",
            gateway,
            prefix: 24,
            mtu: ETHERNET_MTU,
            masquerade: true,
            network: (Ipv4Addr::new(172, 16, 28, 0), 24),
        }
    }

    pub fn of_flannel() -> anyhow::Result<Self> {
        let path = std::env::var_os(FLANNEL_VARIABLE).unwrap_or_else(|| FLANNEL_FILE.into());
        let path = Path::new(&path);
        let text = run_file::read_if_present(path, MAX_FILE)?.with_context(|| {
            format!(
                "there is no {}: flanneld has leased no subnet; start flanneld.service first",
                path.display()
            )
        })?;
        Self::parse_flannel(&String::from_utf8_lossy(&text)).with_context(|| path.display().to_string())
    }

    fn parse_flannel(text: &str) -> anyhow::Result<Self> {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.with_context(|| format!("{key} is missing"))
        };
        let cidr = |key: &str| {
            let text = value(key)?;
            let parse = || {
                let (address, prefix) = text.split_once('/')?;
                let prefix: u8 = prefix.parse().ok().filter(|prefix| (1..=30).contains(prefix))?;
                Some((address.parse::<Ipv4Addr>().ok()?, prefix))
            };
            parse().with_context(|| format!("{key} is {text:?}; expected ADDRESS/PREFIX"))
        };
        let (gateway, prefix) = cidr("FLANNEL_SUBNET")?;
        let mtu = value("FLANNEL_MTU")?;
        let mtu = mtu
            .parse()
            .ok()
            .filter(|mtu| (576..=65_535).contains(mtu))
            .with_context(|| format!("FLANNEL_MTU is {mtu:?}"))?;
        let masquerade = match value("FLANNEL_IPMASQ")? {
            // flannel does it.
            "true" => false,
            "false" => true,
            other => bail!("FLANNEL_IPMASQ is {other:?}"),
        };
        Ok(Self {
            name: "flannel",
            bridge: "rkt-flannel",
            gateway,
            prefix,
            mtu,
            masquerade,
            network: cidr("FLANNEL_NETWORK")?,
        })
    }

    /// Addresses of pods: all but those of the subnet itself, of the bridge and of broadcasts.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let mask = u32::MAX << (32 - u32::from(self.prefix));
        let first = u32::from(self.gateway) & mask;
        let gateway = self.gateway;
        (first + 1..first | !mask).map(Ipv4Addr::from).filter(move |address| *address != gateway)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flannels_file() {
        let check = |text: &str, expected: Result<&str, &str>| match (Subnet::parse_flannel(text), expected) {
            (Ok(subnet), Ok(expected)) => {
                let addresses: Vec<_> = subnet.addresses().collect();
                let (first, last) = (addresses[0], addresses[addresses.len() - 1]);
                assert_eq!(format!("{first} {last} {} {}", subnet.mtu, subnet.masquerade), expected);
            }
            (Err(error), Err(excerpt)) => assert!(error.to_string().contains(excerpt), "{error}"),
            (other, _) => panic!("{text}: {other:?}"),
        };
        let file = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.34.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
        check(file, Ok("10.1.34.2 10.1.34.254 1450 false"));
        check(&file.replace("true", "false"), Ok("10.1.34.2 10.1.34.254 1450 true"));
        check(&file.replace("34.1/24", "34.1/30"), Ok("10.1.34.2 10.1.34.2 1450 false"));
        check(&file.replace("/24", "/32"), Err("FLANNEL_SUBNET is \"10.1.34.1/32\""));
        check(&file.replace("1450", "x"), Err("FLANNEL_MTU"));
        check("", Err("FLANNEL_SUBNET is missing"));
    }
}
