//! The decision logic of flanneld: which subnet a host leases, and which kernel entries lead to the subnets of others.
//!
//! Configuration and leases are keys in etcd, in flannel's format. This crate never reads a clock or a file, and does
//! no I/O: leases, devices, and the observed kernel tables are arguments; results are plans whose steps have reasons.

#![warn(missing_docs)]

mod acquire;
mod backend;
mod config;
mod device;
mod docker_options;
mod firewall;
mod interface;
mod lease;
mod lease_set;
mod limits;
mod mac_address;
mod object;
mod own_lease;
mod settings;
mod subnet_file;
mod tables;
mod udp_proxy;
mod wireguard_key;

pub use acquire::{Acquisition, LeaseOperation, LeaseWrite, OutOfSubnets};
pub use backend::{Backend, BackendError, UDP_DEVICE, VxlanSettings, WIREGUARD_DEVICE, WireguardSettings};
pub use config::{ConfigError, NetworkConfig};
pub use device::{DeviceDecision, ExternalInterface, ObservedVxlan, VxlanDevice, decide_vxlan};
pub use docker_options::{DockerOptions, InvalidIpMasq};
pub use firewall::{AddressMatch, Chain, Rule, Verdict, forward_rules, masquerade_rules};
pub use interface::{Interface, InterfaceChoice, InterfaceError, check_overlap};
pub use lease::{Lease, LeaseAttributes, LeaseError, LeaseKey, parse_subnet_key, subnet_key};
pub use lease_set::{Desired, Host, Ignored, LeaseSet, owns_route};
pub use limits::{ACQUIRE_ATTEMPTS, LEASE_TTL, RETRY};
pub use mac_address::{MacAddress, ParseMacError};
pub use object::ObjectError;
pub use own_lease::{KeyState, LeaseNotice, LeaseRequest, OwnLease};
pub use settings::{FLAGS, Invocation, Settings, StoreSettings, settings};
pub use subnet_file::{SubnetFile, SubnetFileError};
pub use tables::{Change, Peer, Route, RouteLink, Step, Tables, steps};
pub use udp_proxy::{Discard, MAX_ANSWER, Outgoing, UdpHosts, incoming};
pub use wireguard_key::{ParseKeyError, ParseSecretError, WireguardKey, WireguardSecret};
