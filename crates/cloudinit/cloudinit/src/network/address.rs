//! Addresses in network descriptions.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address with a prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    pub prefix: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Cidr {
    pub const ANY_V4: Self = Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix: 0 };
    pub const ANY_V6: Self = Self { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), prefix: 0 };

    pub fn any(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::ANY_V4 } else { Self::ANY_V6 }
    }

    /// The address alone.
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Parses `address/length`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        Self::with_mask(address, length)
    }

    /// Parses an address and a netmask, which is an address or a prefix length.
    pub fn with_mask(address: &str, mask: &str) -> Option<Self> {
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match mask.parse::<IpAddr>() {
            Ok(mask) if mask.is_ipv4() == address.is_ipv4() => ones(mask)?,
            Ok(_) => return None,
            Err(_) => length(mask)?,
        };
        (prefix <= longest).then_some(Self { address, prefix })
    }

    /// The network address, with the host bits cleared.
    pub fn network(self) -> Self {
        let cut = |bits: u128, width: u32| {
            let host = width - u32::from(self.prefix);
            bits.checked_shr(host).and_then(|bits| bits.checked_shl(host)).unwrap_or_default()
        };
        let address = match self.address {
            IpAddr::V4(address) => {
                let bits = cut(u128::from(address.to_bits()), 32);
                IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or_default()))
            }
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(cut(address.to_bits(), 128))),
        };
        Self { address, ..self }
    }
}

fn length(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// The prefix length of a contiguous netmask.
fn ones(mask: IpAddr) -> Option<u8> {
    let (bits, width) = match mask {
        IpAddr::V4(mask) => (u128::from(mask.to_bits()) << 96, 32),
        IpAddr::V6(mask) => (mask.to_bits(), 128),
    };
    let ones = bits.leading_ones();
    let contiguous = bits.checked_shl(ones).unwrap_or_default() == 0;
    u8::try_from(ones).ok().filter(|ones| contiguous && *ones <= width)
}

/// A MAC address in lower case, separated by colons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mac(String);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Mac {
    /// Parses six octets separated by `:` or `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let octets: Vec<_> = text.split(separator).collect();
        let hexadecimal =
            |octet: &&str| octet.len() == 2 && octet.bytes().all(|byte| byte.is_ascii_hexdigit());
        (octets.len() == 6 && octets.iter().all(hexadecimal))
            .then(|| Self(octets.join(":").to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        for (address, mask, expect) in [
            ("10.1.2.3", "255.255.0.0", Some("10.1.0.0/16")),
            ("10.1.2.3", "0.0.0.0", Some("0.0.0.0/0")),
            ("10.1.2.3", "32", Some("10.1.2.3/32")),
            ("10.1.2.3", "33", None),
            ("10.1.2.3", "+8", None),
            ("10.1.2.3", "255.0.255.0", None),
            ("10.1.2.3", "ffff::", None),
            ("2001:db8::7", "64", Some("2001:db8::/64")),
            ("2001:db8::7", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", Some("2001:db8::6/127")),
            ("::1", "0", Some("::/0")),
            ("x", "8", None),
        ] {
            let network = Cidr::with_mask(address, mask).map(|cidr| cidr.network().to_string());
            assert_eq!(network.as_deref(), expect, "{address} {mask}");
        }
        assert_eq!(Cidr::parse("10.0.0.1"), None);
    }

    #[test]
    fn hardware_addresses() {
        let formatted = |text| Mac::parse(text).map(|mac| mac.to_string());
        for text in ["AA:bb:0c:00:11:22", "aa-bb-0c-00-11-22"] {
            assert_eq!(formatted(text).as_deref(), Some("aa:bb:0c:00:11:22"));
        }
        for text in ["", "aa:bb", "aa:bb:0c:00:11:2", "aa:bb:0c:00:11:gg", "aa:bb:0c:00:11:22:33"] {
            assert_eq!(formatted(text), None, "{text}");
        }
    }
}
