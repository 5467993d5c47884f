//! The members: raft's configuration, and the links to the other members.

pub mod peers;
pub mod plan;
