//! The time that keys expire by: one for all members.

pub mod cluster_time;
pub mod time_record;
