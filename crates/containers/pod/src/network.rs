//! Networks and forwarded ports of a pod.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The network of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// The host's.
    Host,
    /// Loopback only.
    None,
    /// A bridge of this host, with access to other networks by address translation.
    Default,
    /// The subnet that flannel leased for this host.
    Flannel,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host that leads to one of the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortForward {
    /// The port's name in the image: `80-tcp`.
    pub name: String,
    /// The address of the host; any, if there is none.
    pub host_address: Option<Ipv4Addr>,
    /// The host's port.
    pub host_port: u16,
}

/// Why a network or port is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum NetworkError {
    #[error("network {0:?}; expected host, none, default or flannel")]
    Mode(String),
    #[error("port {0:?}; expected NAME:HOSTPORT or NAME:ADDRESS:HOSTPORT, such as 80-tcp:8080")]
    Port(String),
}

impl FromStr for NetworkMode {
    type Err = NetworkError;

    /// A list, as rkt has it, selects one network.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        match text {
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            // `true` is what a parser of flags makes of `--net` alone.
            "" | "default" | "true" => Ok(Self::Default),
            "flannel" => Ok(Self::Flannel),
            other => Err(NetworkError::Mode(other.to_owned())),
        }
    }
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Host => "host",
            Self::None => "none",
            Self::Default => "default",
            Self::Flannel => "flannel",
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl PortForward {
    /// The pod's port and protocol, by the name that ports of Docker's images have: `80-tcp`.
    #[must_use]
    pub fn target(&self) -> Option<(u16, Protocol)> {
        let (number, protocol) = self.name.split_once('-')?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return None,
        };
        Some((number.parse().ok().filter(|number| *number > 0)?, protocol))
    }
}

impl FromStr for PortForward {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let parse = || {
            let (name, rest) = text.split_once(':')?;
            let (address, port) = match rest.rsplit_once(':') {
                Some((address, port)) => (Some(address.parse().ok()?), port),
                None => (None, rest),
            };
            let host_port = port.parse().ok().filter(|port| *port > 0)?;
            let forward = Self { name: name.to_owned(), host_address: address, host_port };
            forward.target().map(|_| forward)
        };
        parse().ok_or_else(|| NetworkError::Port(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        let check = |text: &str, expected: Option<(u16, Protocol, Option<[u8; 4]>, u16)>| {
            let parsed = text.parse::<PortForward>().ok().map(|port| {
                let (number, protocol) = port.target().unwrap();
                (number, protocol, port.host_address.map(|address| address.octets()), port.host_port)
            });
            assert_eq!(parsed, expected, "{text}");
        };
        check("80-tcp:8080", Some((80, Protocol::Tcp, None, 8080)));
        check("53-udp:127.0.0.1:5353", Some((53, Protocol::Udp, Some([127, 0, 0, 1]), 5353)));
        check("http:8080", None);
        check("80-tcp", None);
        check("80-tcp:0", None);
        check("80-tcp:70000", None);
        check("0-tcp:80", None);
        check("80-sctp:80", None);
        check("80-tcp:localhost:80", None);
    }

    #[test]
    fn modes() {
        let check = |text: &str, expected: Option<NetworkMode>| {
            assert_eq!(text.parse::<NetworkMode>().ok(), expected, "{text}");
        };
        check("host", Some(NetworkMode::Host));
        check("", Some(NetworkMode::Default));
        check("flannel", Some(NetworkMode::Flannel));
        check("default,host", None);
        check("mynet:IP=1.2.3.4", None);
    }
}
