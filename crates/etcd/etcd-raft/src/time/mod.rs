//! The cluster's time, which key expiration is based on.

pub mod cluster_time;
pub mod shared_ticks;
pub mod time_record;
