//! All that touches the world.

pub mod bus;
pub mod coordinator;
pub mod engine;
pub mod fleet;
pub mod fleet_lock;
pub mod lock;
pub mod lock_marker;
pub mod machine;
pub mod power;
pub mod systemd;
pub mod terminals;
