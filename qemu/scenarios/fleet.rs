//! fleet on whole machines.

pub mod bus;
pub mod clock;
pub mod cluster;
pub mod commands;
pub mod crowd;
pub mod docker;
pub mod functional;
pub mod heartbeats;
pub mod limits;
pub mod machine_dies;
pub mod member_hangs;
pub mod on_etcd;
pub mod partition;
pub mod reference;
pub mod refused;
pub mod restarts;
pub mod soak;
pub mod templates;
pub mod texts;
pub mod without_fleetd;
pub mod workers;

/// The cloud-config of the tutorials.
pub(super) const TUTORIAL: &str = "\
#cloud-config

coreos:
  units:
    - name: etcd.service
      command: start
    - name: fleet.service
      command: start
";
