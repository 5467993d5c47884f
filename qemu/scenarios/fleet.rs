//! The cluster manager on whole machines.

mod beats;
mod cluster;
pub mod commands;
pub mod docker;
pub mod functional;
pub mod machine_dies;
pub mod on_etcd;
pub mod partition;
pub mod restarts;
pub mod soak;
pub mod templates;

/// As the tutorials write it.
const TUTORIAL: &str = "\
#cloud-config

coreos:
  units:
    - name: etcd.service
      command: start
    - name: fleet.service
      command: start
";
