//! The crate and the kernel of this host, in network namespaces that each test creates.

#![allow(clippy::unwrap_used)]

mod address;
mod changes;
mod errors;
mod firewall;
mod interfaces;
mod lab;
mod leases;
mod scale;
mod traffic;
mod tun;
mod vxlan;
mod wireguard;
