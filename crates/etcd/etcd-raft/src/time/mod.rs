//! The cluster's time, which key expiration is based on, and the times of periodic work.

pub mod cluster_time;
pub mod ticks;
pub mod time_record;
