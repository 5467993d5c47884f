//! Leases: the keys `PREFIX/subnets/IP-LEN` and their values.

use std::{net::Ipv4Addr, time::Duration};

use ipnet::Ipv4Net;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    mac_address::MacAddress,
    object::{Object, ObjectError},
    wireguard_key::WireguardKey,
};

/// A subnet and the host that has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// The subnet; no host bits.
    pub subnet: Ipv4Net,
    /// The value of the key.
    pub attributes: LeaseAttributes,
    /// Time until the key expires; none for a reservation, which does not expire.
    pub ttl: Option<Duration>,
    /// etcd's index of the last write of the key.
    pub modified_index: u64,
}

/// The value of a lease. Its JSON is flannel 0.11's to the byte.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LeaseAttributes {
    /// Address of the host for the others.
    #[serde(rename = "PublicIP")]
    pub public_ip: Ipv4Addr,
    /// Empty for udp and alloc.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub backend_type: String,
    /// What other hosts need to know; null if nothing.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub backend_data: Value,
}

/// A value that is no lease.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs)]
pub enum LeaseError {
    #[error("{0}")]
    Object(#[from] ObjectError),
    #[error("PublicIP is missing")]
    NoPublicIp,
    #[error("`{0}` is not the key of a subnet, such as 10.1.34.0-24")]
    Name(String),
}

/// A key below `PREFIX/subnets` as the store has it.
#[derive(Clone, Copy, Debug)]
pub struct LeaseKey<'a> {
    /// Absolute path.
    pub key: &'a str,
    /// Empty for a directory.
    pub value: &'a str,
    /// None if the key does not expire.
    pub ttl: Option<Duration>,
    /// etcd's index of the last write.
    pub modified_index: u64,
}

impl Lease {
    /// Parses a key and its value.
    ///
    /// # Errors
    /// No lease has such a key, or the value is invalid.
    pub fn parse(found: LeaseKey<'_>) -> Result<Lease, LeaseError> {
        let name = found.key.rsplit('/').next().unwrap_or_default();
        let subnet = parse_subnet_key(name).ok_or_else(|| LeaseError::Name(name.to_owned()))?;
        let attributes = LeaseAttributes::parse(found.value)?;
        Ok(Lease { subnet, attributes, ttl: found.ttl, modified_index: found.modified_index })
    }
}

impl LeaseAttributes {
    /// A lease of a backend that publishes nothing but its type.
    pub fn plain(public_ip: Ipv4Addr, backend_type: &str) -> LeaseAttributes {
        LeaseAttributes { public_ip, backend_type: backend_type.to_owned(), backend_data: Value::Null }
    }

    /// A lease of a vxlan host, with the address of its device.
    pub fn vxlan(public_ip: Ipv4Addr, mac: MacAddress) -> LeaseAttributes {
        LeaseAttributes {
            public_ip,
            backend_type: "vxlan".to_owned(),
            backend_data: json!({ "VtepMAC": mac }),
        }
    }

    /// A lease of a WireGuard host, with its public key.
    pub fn wireguard(public_ip: Ipv4Addr, key: WireguardKey) -> LeaseAttributes {
        LeaseAttributes {
            public_ip,
            backend_type: "wireguard".to_owned(),
            backend_data: json!({ "PublicKey": key }),
        }
    }

    /// Parses the value of a lease's key. Unknown members are ignored.
    ///
    /// # Errors
    /// The text is no JSON object with a `PublicIP`.
    pub fn parse(text: &str) -> Result<LeaseAttributes, LeaseError> {
        let object = Object::parse(text)?;
        Ok(LeaseAttributes {
            public_ip: object.parsed("PublicIP", "an IPv4 address")?.ok_or(LeaseError::NoPublicIp)?,
            backend_type: object.text("BackendType")?.unwrap_or_default().to_owned(),
            backend_data: object.value("BackendData").cloned().unwrap_or(Value::Null),
        })
    }

    /// The value of the key.
    #[expect(clippy::expect_used)]
    pub fn to_json(&self) -> String {
        // invariant: the only map has strings as keys.
        go_compat::to_string(self).expect("JSON represents every lease")
    }

    /// The published address of a vxlan device.
    ///
    /// # Errors
    /// There is none.
    pub fn vtep_mac(&self) -> Result<MacAddress, ObjectError> {
        let data = Object::new(self.backend_data.clone(), "BackendData.")?;
        let missing = || data.error("VtepMAC", "is missing".to_owned());
        data.parsed("VtepMAC", "a MAC address")?.ok_or_else(missing)
    }

    /// The published key of a WireGuard host.
    ///
    /// # Errors
    /// There is none.
    pub fn public_key(&self) -> Result<WireguardKey, ObjectError> {
        let data = Object::new(self.backend_data.clone(), "BackendData.")?;
        let missing = || data.error("PublicKey", "is missing".to_owned());
        data.parsed("PublicKey", "a public key in Base64")?.ok_or_else(missing)
    }

    /// Whether both leases name a device and it is not the same: two hosts, even if one has the address that the
    /// other had.
    pub fn is_of_another_device(&self, other: &LeaseAttributes) -> bool {
        let differs = |mine: Option<String>, other: Option<String>| matches!((mine, other), (Some(a), Some(b)) if a != b);
        let mac = |lease: &LeaseAttributes| lease.vtep_mac().ok().map(String::from);
        let key = |lease: &LeaseAttributes| lease.public_key().ok().map(String::from);
        differs(mac(self), mac(other)) || differs(key(self), key(other))
    }
}

/// The last component of a lease's key: `10.1.34.0-24`.
pub fn subnet_key(subnet: Ipv4Net) -> String {
    format!("{}-{}", subnet.addr(), subnet.prefix_len())
}

/// The subnet of a key's last component; none if flanneld writes no such key.
pub fn parse_subnet_key(name: &str) -> Option<Ipv4Net> {
    let (address, prefix) = name.split_once('-')?;
    let subnet = Ipv4Net::new(address.parse().ok()?, prefix.parse().ok()?).ok()?;
    (subnet_key(subnet) == name && subnet == subnet.trunc()).then_some(subnet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_flannel_s() {
        let host = Ipv4Addr::new(10, 37, 7, 195);
        let mac = MacAddress([0x82, 0x4b, 0xb6, 0x2f, 0x54, 0x4e]);
        for (lease, expected) in [
            (
                LeaseAttributes::vxlan(host, mac),
                r#"{"PublicIP":"10.37.7.195","BackendType":"vxlan","BackendData":{"VtepMAC":"82:4b:b6:2f:54:4e"}}"#,
            ),
            (
                LeaseAttributes::plain(host, "host-gw"),
                r#"{"PublicIP":"10.37.7.195","BackendType":"host-gw"}"#,
            ),
            (LeaseAttributes::plain(host, ""), r#"{"PublicIP":"10.37.7.195"}"#),
            (
                LeaseAttributes::wireguard(host, WireguardKey([0; 32])),
                r#"{"PublicIP":"10.37.7.195","BackendType":"wireguard","BackendData":{"PublicKey":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}"#,
            ),
        ] {
            assert_eq!(lease.to_json(), expected);
            assert_eq!(LeaseAttributes::parse(expected).unwrap(), lease);
        }
    }

    #[test]
    fn values_of_later_versions() {
        let text = r#"{"PublicIP":"10.0.0.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"82:4b:b6:2f:54:4e"},"BackendV6Data":{}}"#;
        let lease = LeaseAttributes::parse(text).unwrap();
        assert_eq!(lease.vtep_mac().unwrap().to_string(), "82:4b:b6:2f:54:4e");
    }

    #[test]
    fn invalid_values() {
        for (text, error) in [
            ("", "invalid JSON: EOF while parsing a value at line 1 column 0"),
            ("{}", "PublicIP is missing"),
            (
                r#"{"PublicIP":"x"}"#,
                "PublicIP: `x`: invalid IPv4 address syntax; an IPv4 address is required",
            ),
            (r#"{"PublicIP":null}"#, "PublicIP is missing"),
        ] {
            assert_eq!(LeaseAttributes::parse(text).unwrap_err().to_string(), error, "{text}");
        }
        let lease =
            LeaseAttributes::parse(r#"{"PublicIP":"10.0.0.1","BackendData":{"vtepmac":"82:4b"}}"#).unwrap();
        let error = "BackendData.VtepMAC: `82:4b`: `82:4b` is not a MAC address of the form 82:4b:b6:2f:54:4e; a MAC address is required";
        assert_eq!(lease.vtep_mac().unwrap_err().to_string(), error);
        assert_eq!(lease.public_key().unwrap_err().to_string(), "BackendData.PublicKey: is missing");
    }

    #[test]
    fn keys() {
        let subnet = "10.1.34.0/24".parse().unwrap();
        assert_eq!(subnet_key(subnet), "10.1.34.0-24");
        assert_eq!(parse_subnet_key("10.1.34.0-24"), Some(subnet));
        for name in [
            "",
            "junk",
            "10.1.34.0",
            "10.1.34.7-24",
            "10.1.34.0-33",
            "10.1.34.0-024",
            "10.01.34.0-24",
            "10.1.34.0-24 ",
        ] {
            assert_eq!(parse_subnet_key(name), None, "{name}");
        }
    }
}
