//! One member of the replicated store: openraft over an append-only log, `etcd-store` behind it, a
//! checkpoint in LMDB, and the members' own protocol between them.
//! It must never speak HTTP to clients, and never acknowledge what is not on disk at a majority and
//! applied here.

mod accepted;
mod alone;
mod append_request;
mod applied;
mod boot;
mod checkpoint;
mod cluster_time;
mod codec;
mod config;
mod copy;
mod disk_times;
mod flush_thread;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod hand_over;
pub mod hands;
mod host;
mod identity;
mod leadership;
pub mod limits;
mod log_store;
#[cfg(test)]
mod lone;
mod member;
mod membership;
mod peer;
mod peer_times;
mod peers;
mod proposals;
mod proposer;
mod raft_network;
mod raft_types;
mod read_barrier;
mod room;
mod runtime;
mod shown;
pub mod simulated;
mod start;
mod state_machine;
mod status;
mod time_record;
mod transfer;
mod upkeep;
mod watching;

pub use etcd_api::Unavailable;

pub use alone::leave as leave_cluster;
pub use config::{Clock, InitialMember, MemberConfig, Start, SystemClock};
pub use copy::{Copy, CopyError, Place};
pub use disk_times::DiskTimes;
pub use identity::{Identity, IdentityError, read as read_identity};
pub use leadership::Leadership;
pub use member::Member;
pub use peer::network::{
    BoxedStream, Connector, Dialing, Network, PeerStream, Target, TcpNetwork, UPGRADE, accept_upgrade,
};
pub use peer::serve::ServeError;
pub use peer_times::PeerTimes;
pub use peers::StopReason;
pub use start::StartError;
pub use status::{Latency, PeerStatus, Role, Status};
pub use watching::Watch;
