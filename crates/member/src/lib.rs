//! One member of the replicated store: openraft over an append-only log, `kv` behind it, a
//! checkpoint in LMDB, and the members' own protocol between them.
//! It must never speak HTTP to clients, and never acknowledge what is not on disk at a majority and
//! applied here.

mod applied;
mod checkpoint;
mod codec;
mod config;
mod disk_times;
pub mod hands;
mod host;
mod identity;
mod leadership;
pub mod limits;
mod log_store;
mod member;
mod membership;
mod peer;
mod peers;
mod proposals;
mod proposer;
mod raft_network;
mod raft_types;
mod read_barrier;
mod runtime;
mod start;
mod state_machine;
mod status;
mod transfer;
mod unavailable;
mod upkeep;
mod watching;

pub use config::{Clock, InitialMember, MemberConfig, Start, SystemClock};
pub use disk_times::DiskTimes;
pub use identity::{Identity, IdentityError, read as read_identity};
pub use leadership::Leadership;
pub use member::Member;
pub use peer::network::{
    BoxedStream, Connector, Dialing, Network, PeerStream, Target, TcpNetwork, UPGRADE, accept_upgrade,
};
pub use peer::serve::ServeError;
pub use peers::StopReason;
pub use start::StartError;
pub use status::{Latency, PeerStatus, Role, Status};
pub use unavailable::Unavailable;
pub use watching::Watch;
