//! The subnet file, `/run/flannel/subnet.env`: what other programs need to know of the lease.

use std::fmt;

use ipnet::Ipv4Net;

/// Contents of the file. Shells read it, so that it has no other lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetFile {
    /// The network of all hosts.
    pub network: Ipv4Net,
    /// The first address of the lease with its prefix length: that of the bridge.
    pub bridge: Ipv4Net,
    /// Largest packet of a container in bytes.
    pub mtu: u32,
    /// Whether flanneld masquerades packets that leave the network.
    pub masquerade: bool,
}

/// A line that cannot be parsed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[expect(missing_docs)]
pub enum SubnetFileError {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{variable}: `{value}` is invalid")]
    Invalid { variable: &'static str, value: String },
}

impl SubnetFile {
    /// The file of a lease.
    #[expect(clippy::expect_used)]
    pub fn new(network: Ipv4Net, subnet: Ipv4Net, mtu: u32, masquerade: bool) -> SubnetFile {
        let first = std::net::Ipv4Addr::from(u32::from(subnet.network()) + 1);
        // invariant: the prefix length is that of a network.
        let bridge = Ipv4Net::new(first, subnet.prefix_len()).expect("a valid prefix length");
        SubnetFile { network, bridge, mtu, masquerade }
    }

    /// The leased subnet.
    pub fn subnet(&self) -> Ipv4Net {
        self.bridge.trunc()
    }

    /// Parses the file. Other variables and empty lines are ignored; values may be quoted.
    ///
    /// # Errors
    /// A variable is missing or invalid.
    pub fn parse(text: &str) -> Result<SubnetFile, SubnetFileError> {
        fn parsed<T: std::str::FromStr>(text: &str, variable: &'static str) -> Result<T, SubnetFileError> {
            let value = variable_of(text, variable).ok_or(SubnetFileError::Missing(variable))?;
            value.parse().map_err(|_| SubnetFileError::Invalid { variable, value: value.to_owned() })
        }
        Ok(SubnetFile {
            network: parsed(text, "FLANNEL_NETWORK")?,
            bridge: parsed(text, "FLANNEL_SUBNET")?,
            mtu: parsed(text, "FLANNEL_MTU")?,
            masquerade: parsed(text, "FLANNEL_IPMASQ")?,
        })
    }
}

/// The value of a variable in a file of assignments; of several, the last one.
pub(crate) fn variable_of<'a>(text: &'a str, variable: &str) -> Option<&'a str> {
    let mut assignments = text.lines().filter_map(|line| line.trim().split_once('='));
    assignments.rfind(|(name, _)| *name == variable).map(|(_, value)| value.trim_matches(['"', '\'']))
}

impl fmt::Display for SubnetFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SubnetFile { network, bridge, mtu, masquerade } = self;
        writeln!(
            f,
            "FLANNEL_NETWORK={network}\nFLANNEL_SUBNET={bridge}\nFLANNEL_MTU={mtu}\nFLANNEL_IPMASQ={masquerade}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.34.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

    #[test]
    fn bytes() {
        let file =
            SubnetFile::new("10.1.0.0/16".parse().unwrap(), "10.1.34.0/24".parse().unwrap(), 1450, true);
        assert_eq!(file.to_string(), FILE);
        assert_eq!(SubnetFile::parse(FILE), Ok(file.clone()));
        assert_eq!(file.subnet().to_string(), "10.1.34.0/24");
        assert_eq!(SubnetFile::parse(&FILE.replace("10.1.34.1/24", "\"10.1.34.1/24\"")), Ok(file));
    }

    #[test]
    fn damaged_files() {
        for (text, error) in [
            ("", "FLANNEL_NETWORK is missing"),
            (&FILE[..40], "FLANNEL_SUBNET is missing"),
            (&FILE.replace("1450", "x"), "FLANNEL_MTU: `x` is invalid"),
        ] {
            assert_eq!(SubnetFile::parse(text).unwrap_err().to_string(), error);
        }
    }
}
