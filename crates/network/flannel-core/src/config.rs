//! The network's configuration: the key `PREFIX/config`.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;

use crate::object::{Object, ObjectError};

/// The configuration, by flannel 0.11's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The network of all subnets; no host bits.
    pub network: Ipv4Net,
    /// Prefix length of the subnets.
    pub subnet_len: u8,
    /// Base address of the first subnet that is leased.
    pub subnet_min: Ipv4Addr,
    /// Base address of the last one.
    pub subnet_max: Ipv4Addr,
    /// The member `Backend`; none if it is absent.
    pub backend: Option<Value>,
}

/// An invalid configuration.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs)]
pub enum ConfigError {
    #[error("{0}")]
    Object(#[from] ObjectError),
    #[error("Network is missing: {{\"Network\":\"10.1.0.0/16\"}} is the shortest configuration")]
    NoNetwork,
    #[error("Network is too small. Minimum useful network prefix is /28")]
    NetworkTooSmall,
    #[error("SubnetLen must be less than /31")]
    SubnetTooSmall,
    #[error("Network must be able to accommodate at least four subnets: SubnetLen {subnet_len} in {network}")]
    TooFewSubnets { subnet_len: u8, network: Ipv4Net },
    #[error("{member} is not in the range of the Network: {address} in {network}")]
    OutOfRange { member: &'static str, address: Ipv4Addr, network: Ipv4Net },
    #[error("{member} is not on a SubnetLen boundary: {address}")]
    OffBoundary { member: &'static str, address: Ipv4Addr },
    #[error("SubnetMin {min} is above SubnetMax {max}: no subnet can be leased")]
    EmptyRange { min: Ipv4Addr, max: Ipv4Addr },
}

impl NetworkConfig {
    /// Parses the value of the key. The backend is parsed apart, by [`crate::Backend::parse`]: an error here is one
    /// that may be mended while the daemon waits.
    ///
    /// # Errors
    /// The text is not JSON, or describes no usable network.
    pub fn parse(text: &str) -> Result<NetworkConfig, ConfigError> {
        let object = Object::parse(text)?;
        let network: Ipv4Net =
            object.parsed("Network", "a network such as 10.1.0.0/16")?.ok_or(ConfigError::NoNetwork)?;
        let network = network.trunc();
        let subnet_len = subnet_len(network, object.integer("SubnetLen", u8::MAX.into())?)?;
        let size = 1u32 << (32 - subnet_len);
        let first = u32::from(network.network());
        let address = |member| object.parsed::<Ipv4Addr>(member, "an address such as 10.1.10.0");
        let set = |address: Option<Ipv4Addr>| address.filter(|address| !address.is_unspecified());
        // The network's own address and the first subnet's would be equal, which confuses programs that take the
        // former for a broadcast address.
        let subnet_min = set(address("SubnetMin")?).unwrap_or_else(|| Ipv4Addr::from(first + size));
        let last = Ipv4Addr::from(u32::from(network.broadcast()) - (size - 1));
        let subnet_max = set(address("SubnetMax")?).unwrap_or(last);
        for (member, address) in [("SubnetMin", subnet_min), ("SubnetMax", subnet_max)] {
            if !network.contains(&address) {
                return Err(ConfigError::OutOfRange { member, address, network });
            }
            if u32::from(address) % size != 0 {
                return Err(ConfigError::OffBoundary { member, address });
            }
        }
        if subnet_min > subnet_max {
            return Err(ConfigError::EmptyRange { min: subnet_min, max: subnet_max });
        }
        Ok(NetworkConfig {
            network,
            subnet_len,
            subnet_min,
            subnet_max,
            backend: object.value("Backend").cloned(),
        })
    }

    /// Whether a host may lease `subnet` under this configuration.
    pub fn allows(&self, subnet: Ipv4Net) -> bool {
        subnet.prefix_len() == self.subnet_len
            && (self.subnet_min..=self.subnet_max).contains(&subnet.addr())
            && subnet == subnet.trunc()
    }

    /// Every subnet that may be leased, in ascending order.
    pub fn subnets(&self) -> impl Iterator<Item = Ipv4Net> + use<> {
        let NetworkConfig { subnet_len, subnet_min, subnet_max, .. } = *self;
        (u32::from(subnet_min)..=u32::from(subnet_max))
            .step_by(1 << (32 - subnet_len))
            .map(move |base| Ipv4Net::new_assert(Ipv4Addr::from(base), subnet_len))
    }
}

/// The prefix length of subnets: as configured, else one that leaves at least four in the network.
fn subnet_len(network: Ipv4Net, configured: Option<u32>) -> Result<u8, ConfigError> {
    let prefix = network.prefix_len();
    match configured.filter(|len| *len > 0) {
        Some(31..) => Err(ConfigError::SubnetTooSmall),
        Some(len) => {
            let subnet_len = u8::try_from(len).map_err(|_| ConfigError::SubnetTooSmall)?;
            if subnet_len < prefix + 2 {
                return Err(ConfigError::TooFewSubnets { subnet_len, network });
            }
            Ok(subnet_len)
        }
        None if prefix > 28 => Err(ConfigError::NetworkTooSmall),
        None if prefix <= 22 => Ok(24),
        None => Ok(prefix + 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let got = match NetworkConfig::parse(text) {
            Ok(config) => {
                let NetworkConfig { network, subnet_len, subnet_min, subnet_max, .. } = config;
                format!("{network} {subnet_len} {subnet_min}..{subnet_max}")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn defaults() {
        check(r#"{"Network":"10.1.0.0/16"}"#, "10.1.0.0/16 24 10.1.1.0..10.1.255.0");
        check(r#"{"network":"10.1.2.3/16","BACKEND":null}"#, "10.1.0.0/16 24 10.1.1.0..10.1.255.0");
        check(r#"{"Network":"10.1.0.0/22"}"#, "10.1.0.0/22 24 10.1.1.0..10.1.3.0");
        check(r#"{"Network":"10.1.0.0/23"}"#, "10.1.0.0/23 25 10.1.0.128..10.1.1.128");
        check(r#"{"Network":"10.1.0.0/28"}"#, "10.1.0.0/28 30 10.1.0.4..10.1.0.12");
        check(
            r#"{"Network":"10.1.0.0/16","SubnetLen":28,"SubnetMin":"10.1.10.0","SubnetMax":"10.1.50.0"}"#,
            "10.1.0.0/16 28 10.1.10.0..10.1.50.0",
        );
        check(
            r#"{"Network":"0.0.0.0/0","SubnetLen":2,"SubnetMin":"0.0.0.0"}"#,
            "0.0.0.0/0 2 64.0.0.0..192.0.0.0",
        );
        check(r#"{"Network":"255.255.0.0/16"}"#, "255.255.0.0/16 24 255.255.1.0..255.255.255.0");
    }

    #[test]
    fn errors() {
        check("", "invalid JSON: EOF while parsing a value at line 1 column 0");
        check("[1]", "a JSON object is required, this is an array");
        let missing = r#"Network is missing: {"Network":"10.1.0.0/16"} is the shortest configuration"#;
        check("{}", missing);
        check("null", missing);
        check(
            r#"{"Network":"10.1.0.0"}"#,
            "Network: `10.1.0.0`: invalid IP address syntax; a network such as 10.1.0.0/16 is required",
        );
        check(
            r#"{"Network":"fd00::/48"}"#,
            "Network: `fd00::/48`: invalid IP address syntax; a network such as 10.1.0.0/16 is required",
        );
        check(r#"{"Network":7}"#, "Network: a string is required, found 7");
        check(r#"{"Network":"10.1.0.0/29"}"#, "Network is too small. Minimum useful network prefix is /28");
        check(r#"{"Network":"10.1.0.0/16","SubnetLen":31}"#, "SubnetLen must be less than /31");
        check(
            r#"{"Network":"10.1.0.0/16","SubnetLen":17}"#,
            "Network must be able to accommodate at least four subnets: SubnetLen 17 in 10.1.0.0/16",
        );
        check(
            r#"{"Network":"10.1.0.0/16","SubnetLen":-1}"#,
            "SubnetLen: an integer from 0 to 255 is required, found -1",
        );
        check(
            r#"{"Network":"10.1.0.0/16","SubnetMin":"10.2.0.0"}"#,
            "SubnetMin is not in the range of the Network: 10.2.0.0 in 10.1.0.0/16",
        );
        check(
            r#"{"Network":"10.1.0.0/16","SubnetMax":"10.1.7.1"}"#,
            "SubnetMax is not on a SubnetLen boundary: 10.1.7.1",
        );
        check(
            r#"{"Network":"10.1.0.0/16","SubnetMin":"10.1.9.0","SubnetMax":"10.1.8.0"}"#,
            "SubnetMin 10.1.9.0 is above SubnetMax 10.1.8.0: no subnet can be leased",
        );
        check(
            &format!("{{\"Network\":\"{}\"}}", "1".repeat(70_000)),
            "65536 bytes are the limit, the value has 70014",
        );
    }

    #[test]
    fn subnets_are_the_allowed_ones() {
        for text in [
            r#"{"Network":"10.1.0.0/20"}"#,
            r#"{"Network":"10.1.0.0/24","SubnetLen":30,"SubnetMin":"10.1.0.16"}"#,
            r#"{"Network":"255.255.240.0/20"}"#,
        ] {
            let config = NetworkConfig::parse(text).unwrap();
            let all: Vec<Ipv4Net> = config.network.subnets(config.subnet_len).unwrap().collect();
            let allowed: Vec<Ipv4Net> = all.into_iter().filter(|subnet| config.allows(*subnet)).collect();
            assert_eq!(config.subnets().collect::<Vec<_>>(), allowed, "{text}");
        }
    }
}
