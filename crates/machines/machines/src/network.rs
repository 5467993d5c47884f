//! Networks of machines on this host: namespaces, uplinks, ports that are relayed between them, and interfaces on a LAN.
//!
//! The host's own routes, bridges and firewall never change, and no namespace outlives the process that created it.

pub mod namespace;
pub mod port_forward;
pub mod tap;
pub mod uplink;
