//! Attacks on machines: each scenario passes if its attack fails. `docs/security.md` lists them.

pub mod cluster_ports;
pub mod container_profile;
pub mod disks;
pub mod host;
