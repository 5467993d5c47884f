//! One member of the replicated store: openraft over an append-only log, `etcd-store` behind it, a
//! checkpoint in LMDB, and the members' own protocol between them.
//! It must never speak HTTP to clients, and never acknowledge what is not on disk at a majority and
//! applied here.

mod append_request;
mod applied;
mod boot;
mod checkpoint;
mod cluster_time;
mod codec;
mod config;
mod disk_metrics;
mod disk_space;
pub mod environment;
mod flush_thread;
mod force_new_cluster;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod identity;
mod key_watch;
mod leader_transfer;
mod leadership;
pub mod limits;
mod log_store;
mod maintenance;
mod member;
mod member_data;
mod membership;
mod peer;
mod peer_metrics;
mod peer_service;
mod peers;
mod pending_batches;
mod proposals;
mod proposer;
mod raft_network;
mod raft_types;
mod read_barrier;
mod read_watermark;
mod runtime;
pub mod simulated;
#[cfg(test)]
mod single_member;
mod snapshot_transfer;
mod start;
mod state_machine;
mod status;
mod time_record;

pub use etcd_api::Unavailable;

pub use config::{Clock, InitialMember, MemberConfig, Start, SystemClock};
pub use disk_metrics::DiskMetrics;
pub use force_new_cluster::leave as leave_cluster;
pub use identity::{Identity, IdentityError, read as read_identity};
pub use key_watch::Watch;
pub use leadership::Leadership;
pub use member::Member;
pub use member_data::{DataError, DataLocation, MemberData};
pub use peer::network::{
    BoxedStream, Connector, Dialing, Network, PeerStream, Target, TcpNetwork, UPGRADE, accept_upgrade,
};
pub use peer::server::ServeError;
pub use peer_metrics::PeerMetrics;
pub use peers::StopReason;
pub use start::StartError;
pub use status::{Latency, PeerStatus, Role, Status};
