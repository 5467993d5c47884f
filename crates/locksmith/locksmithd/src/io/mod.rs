//! Everything that does I/O.

pub mod coordinator;
pub mod dbus;
pub mod etcd_lock;
pub mod fleet;
pub mod fleet_lock;
pub mod lock_marker;
pub mod logind;
pub mod machine;
pub mod systemd;
pub mod terminals;
pub mod update_engine;
