//! The decision logic of flanneld: which subnet a host leases, and which kernel entries lead to the subnets of others.
//!
//! Configuration and leases are keys in etcd, in flannel's format. This crate never reads a clock or a file, and does
//! no I/O: leases, devices, and the observed kernel tables are arguments; results are plans whose steps have reasons.

#![warn(missing_docs)]

mod device;
mod firewall;
mod mac_address;
mod tables;
mod wireguard_key;

pub use device::{DeviceDecision, ExternalInterface, ObservedVxlan, VxlanDevice, decide_vxlan};
pub use firewall::{AddressMatch, Chain, Rule, Verdict, forward_rules, masquerade_rules};
pub use mac_address::{MacAddress, ParseMacError};
pub use tables::{Change, Peer, Route, RouteLink, Step, Tables, steps};
pub use wireguard_key::{ParseKeyError, WireguardKey};
