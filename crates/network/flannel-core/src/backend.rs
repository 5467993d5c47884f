//! The backends: how packets reach the subnets of other hosts.

use std::fmt;

use serde_json::Value;

use crate::{
    config::NetworkConfig,
    limits::{
        MAX_VNI, UDP_OVERHEAD, UDP_PORT, VXLAN_OVERHEAD, VXLAN_PORT, WIREGUARD_OVERHEAD, WIREGUARD_PORT,
    },
    object::{Object, ObjectError},
    wireguard_key::WireguardSecret,
};

/// The device of backend udp.
pub const UDP_DEVICE: &str = "flannel0";

/// The device of backend wireguard.
pub const WIREGUARD_DEVICE: &str = "flannel-wg";

/// A backend and its settings, the member `Backend` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The kernel encapsulates packets in vxlan.
    Vxlan(VxlanSettings),
    /// A route per host; the hosts share a link.
    HostGw,
    /// flanneld copies packets into UDP datagrams.
    Udp {
        /// Port of every host.
        port: u16,
    },
    /// Subnets are leased, and packets are another program's concern.
    Alloc,
    /// The kernel encrypts packets.
    Wireguard(WireguardSettings),
}

/// Settings of vxlan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VxlanSettings {
    /// Network identifier, 24 bits.
    pub vni: u32,
    /// UDP port of every host.
    pub port: u16,
    /// Group policy extension.
    pub group_policy: bool,
    /// Packets to hosts on the same link are not encapsulated.
    pub direct_routing: bool,
}

/// Settings of WireGuard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireguardSettings {
    /// UDP port of every host.
    pub port: u16,
    /// Seconds between two packets that keep the connection through a NAT open; 0: none.
    pub keepalive: u16,
    /// A key that all hosts have in addition to their own, `PSK`.
    pub preshared: Option<WireguardSecret>,
}

/// A backend that cannot be used; flanneld exits with it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs)]
pub enum BackendError {
    #[error("unknown backend type: {0}; vxlan, host-gw, wireguard, udp and alloc are available{hint}", hint = refusal(.0))]
    Unknown(String),
    #[error("error decoding Backend property of config: {0}")]
    Settings(#[from] ObjectError),
}

/// Why a backend of flannel is not there.
fn refusal(kind: &str) -> &'static str {
    match kind {
        "extension" => {
            ". extension runs shell commands from etcd as root on every host: whoever may write the key could run anything"
        }
        "aws-vpc" | "gce" | "ali-vpc" | "tencent-vpc" | "hwcloud" => {
            ". Backends of clouds are not part of Keelson: use vxlan there, which needs no access to the cloud's API"
        }
        "ipip" | "ipsec" => ". Use vxlan, or wireguard for encryption",
        _ => "",
    }
}

impl Backend {
    /// The backend of a configuration; `default` is the type if the configuration has none, which is `udp` in flannel.
    ///
    /// # Errors
    /// The type is unknown, or its settings are invalid.
    pub fn parse(config: &NetworkConfig, default: &str) -> Result<Backend, BackendError> {
        let object = Object::new(config.backend.clone().unwrap_or(Value::Null), "Backend.")?;
        let kind = match &config.backend {
            Some(_) => object.text("Type")?.unwrap_or_default(),
            None => default,
        };
        Ok(match kind.to_lowercase().as_str() {
            "vxlan" => Backend::Vxlan(VxlanSettings {
                vni: object.integer("VNI", MAX_VNI)?.unwrap_or(1),
                port: object.port("Port")?.unwrap_or(VXLAN_PORT),
                group_policy: object.boolean("GBP")?.unwrap_or_default(),
                direct_routing: object.boolean("DirectRouting")?.unwrap_or_default(),
            }),
            "host-gw" => Backend::HostGw,
            "udp" => Backend::Udp { port: object.port("Port")?.unwrap_or(UDP_PORT) },
            "alloc" => Backend::Alloc,
            "wireguard" => Backend::Wireguard(wireguard(&object)?),
            _ => return Err(BackendError::Unknown(kind.to_owned())),
        })
    }

    /// The type that leases have; empty for those that publish none.
    pub fn lease_type(&self) -> &'static str {
        match self {
            Backend::Vxlan(_) => "vxlan",
            Backend::HostGw => "host-gw",
            Backend::Udp { .. } | Backend::Alloc => "",
            Backend::Wireguard(_) => "wireguard",
        }
    }

    /// The name of flanneld's device; none if packets leave through the external interface only.
    pub fn device(&self) -> Option<String> {
        match self {
            Backend::Vxlan(settings) => Some(format!("flannel.{}", settings.vni)),
            Backend::Udp { .. } => Some(UDP_DEVICE.to_owned()),
            Backend::Wireguard(_) => Some(WIREGUARD_DEVICE.to_owned()),
            Backend::HostGw | Backend::Alloc => None,
        }
    }

    /// The largest packet of a container in bytes, if the external interface's is `mtu`.
    pub fn mtu(&self, mtu: u32) -> u32 {
        let overhead = match self {
            Backend::Vxlan(_) => VXLAN_OVERHEAD,
            Backend::Udp { .. } => UDP_OVERHEAD,
            Backend::Wireguard(_) => WIREGUARD_OVERHEAD,
            Backend::HostGw | Backend::Alloc => 0,
        };
        mtu.saturating_sub(overhead)
    }
}

fn wireguard(object: &Object) -> Result<WireguardSettings, ObjectError> {
    match object.text("Mode")?.unwrap_or_default() {
        "" | "separate" | "auto" | "ipv4" => {}
        other => {
            let cause = format!("`{other}` is not available: hosts reach each other by IPv4; leave it out");
            return Err(object.error("Mode", cause));
        }
    }
    let preshared = match object.text("PSK")? {
        None | Some("") => None,
        // The error must not show the key.
        Some(text) => Some(text.parse().map_err(|error| object.error("PSK", format!("{error}")))?),
    };
    Ok(WireguardSettings {
        port: object.port("ListenPort")?.unwrap_or(WIREGUARD_PORT),
        keepalive: object.port("PersistentKeepaliveInterval")?.unwrap_or_default(),
        // For the kernel, a key of zeros is none.
        preshared: preshared.filter(|key: &WireguardSecret| key.0 != [0; 32]),
    })
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Backend::Vxlan(VxlanSettings { vni, port, group_policy, direct_routing }) => {
                write!(f, "vxlan VNI={vni} Port={port} GBP={group_policy} DirectRouting={direct_routing}")
            }
            Backend::HostGw => f.write_str("host-gw"),
            Backend::Udp { port } => write!(f, "udp Port={port}"),
            Backend::Alloc => f.write_str("alloc"),
            Backend::Wireguard(WireguardSettings { port, keepalive, preshared }) => {
                write!(f, "wireguard ListenPort={port} PersistentKeepaliveInterval={keepalive}")?;
                if preshared.is_some() { f.write_str(" PSK=(hidden)") } else { Ok(()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(backend: &str, expected: &str) {
        let config = NetworkConfig::parse(&format!(r#"{{"Network":"10.1.0.0/16"{backend}}}"#)).unwrap();
        let got = match Backend::parse(&config, "udp") {
            Ok(backend) => format!("{backend} {}", backend.mtu(1500)),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected, "{backend}");
    }

    #[test]
    fn types_and_settings() {
        check("", "udp Port=8285 1472");
        check(r#","Backend":{"Type":"VXLAN"}"#, "vxlan VNI=1 Port=8472 GBP=false DirectRouting=false 1450");
        check(
            r#","backend":{"type":"vxlan","vni":7,"port":0,"gbp":true,"directrouting":true,"Other":1}"#,
            "vxlan VNI=7 Port=8472 GBP=true DirectRouting=true 1450",
        );
        check(r#","Backend":{"Type":"udp","Port":7890}"#, "udp Port=7890 1472");
        check(r#","Backend":{"Type":"host-gw"}"#, "host-gw 1500");
        check(r#","Backend":{"Type":"alloc"}"#, "alloc 1500");
        check(
            r#","Backend":{"Type":"wireguard"}"#,
            "wireguard ListenPort=51820 PersistentKeepaliveInterval=0 1420",
        );
        let key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        check(
            &format!(r#","Backend":{{"Type":"wireguard","ListenPort":7,"PSK":"{key}","Mode":"ipv4"}}"#),
            "wireguard ListenPort=7 PersistentKeepaliveInterval=0 PSK=(hidden) 1420",
        );
        let zeros = "A".repeat(43);
        check(
            &format!(
                r#","Backend":{{"Type":"wireguard","PSK":"{zeros}=","PersistentKeepaliveInterval":25}}"#
            ),
            "wireguard ListenPort=51820 PersistentKeepaliveInterval=25 1420",
        );
    }

    #[test]
    fn refusals() {
        let known = "vxlan, host-gw, wireguard, udp and alloc are available";
        check(r#","Backend":{}"#, &format!("unknown backend type: ; {known}"));
        check(
            r#","Backend":{"Type":"ipip"}"#,
            &format!("unknown backend type: ipip; {known}. Use vxlan, or wireguard for encryption"),
        );
        let place = "error decoding Backend property of config: ";
        check(
            r#","Backend":{"Type":"vxlan","VNI":16777216}"#,
            &format!("{place}Backend.VNI: an integer from 0 to 16777215 is required, found 16777216"),
        );
        check(
            r#","Backend":{"Type":"udp","Port":"8285"}"#,
            &format!("{place}Backend.Port: an integer from 0 to 65535 is required, found \"8285\""),
        );
        check(
            r#","Backend":{"Type":"wireguard","PSK":"secret"}"#,
            &format!("{place}Backend.PSK: 32 bytes in Base64 are required, as `wg genkey` prints them"),
        );
        check(
            r#","Backend":{"Type":"wireguard","Mode":"ipv6"}"#,
            &format!(
                "{place}Backend.Mode: `ipv6` is not available: hosts reach each other by IPv4; leave it out"
            ),
        );
        check(r#","Backend":"vxlan""#, &format!("{place}a JSON object is required, this is a string"));
    }
}
