//! The members of the cluster: what the state records of them, and the links to them.

pub mod peers;
pub mod plan;
