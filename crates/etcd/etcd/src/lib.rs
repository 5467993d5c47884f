//! A member of the store as [`etcd_http`] serves it: what `etcd` runs, and what simulations run in its place.

mod backend;
mod metrics;

pub use backend::{MemberBackend, MemberWatch};
pub use metrics::Metrics;
