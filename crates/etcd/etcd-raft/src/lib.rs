//! One member of the replicated store: openraft over an append-only log, `etcd-store` as the state machine,
//! checkpoints in LMDB, and the peer protocol.
//!
//! A member acknowledges only what is durable at a majority and applied locally. It serves no HTTP to clients.

mod boot;
mod codec;
mod config;
mod disk_metrics;
pub mod environment;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod key_watch;
pub mod limits;
mod maintenance;
mod member;
mod membership;
mod peer;
mod peer_metrics;
mod proposals;
mod raft;
mod raft_types;
mod runtime;
pub mod simulated;
#[cfg(test)]
mod single_member;
mod start;
mod status;
mod storage;
mod time;

pub use etcd_api::Unavailable;

pub use config::{Clock, InitialMember, MemberConfig, Start, SystemClock};
pub use disk_metrics::DiskMetrics;
pub use key_watch::Watch;
pub use member::Member;
pub use membership::peers::StopReason;
pub use peer::network::{
    BoxedStream, Connector, Dialing, Network, PeerStream, Target, TcpNetwork, UPGRADE, accept_upgrade,
};
pub use peer::server::ServeError;
pub use peer_metrics::PeerMetrics;
pub use raft::leadership::Leadership;
pub use start::StartError;
pub use status::{Latency, PeerStatus, Role, Status};
pub use storage::force_new_cluster::leave as leave_cluster;
pub use storage::identity::{Identity, IdentityError, read as read_identity};
pub use storage::member_data::{DataError, DataLocation, MemberData};
