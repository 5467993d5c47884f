//! Networks of machines on this host: namespaces, uplinks, and ports that are relayed between them.
//!
//! The host's own routes, bridges and firewall never change, and no namespace outlives the process that created it.

pub mod namespace;
pub mod port_forward;
pub mod uplink;
