//! [`etcd_http`]'s back end over a raft member, for `etcd` and for simulations.

mod backend;
mod metrics;

pub use backend::{MemberBackend, MemberWatch};
pub use metrics::Metrics;
