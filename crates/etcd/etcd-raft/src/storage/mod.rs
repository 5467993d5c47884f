//! The files in a member's data directory, and the applied state.

pub mod applied;
pub mod checkpoint;
pub mod disk_space;
pub mod flush_thread;
pub mod force_new_cluster;
pub mod identity;
pub mod log_store;
pub mod member_data;
pub mod read_watermark;
pub mod snapshot_transfer;
pub mod state_machine;
