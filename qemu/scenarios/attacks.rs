//! Attacks on machines: each scenario passes if its attack fails. `docs/security.md` lists them. And the
//! features that prevent them.

pub mod cluster_ports;
pub mod container_profile;
pub mod disks;
pub mod features;
pub mod host;
pub mod loopback;
