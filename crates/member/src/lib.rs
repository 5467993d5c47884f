//! One member of the replicated store: openraft over an append-only log, `kv` behind it, a
//! checkpoint in LMDB, and the members' own protocol between them.
//! It must never speak HTTP to clients, and never acknowledge what is not on disk at a majority and
//! applied here.

mod config;
pub mod limits;
mod raft_types;
mod runtime;
mod status;
mod unavailable;

pub use config::{Clock, InitialMember, MemberConfig, Start, SystemClock};
pub use status::{Latency, PeerStatus, Role, Status};
pub use unavailable::Unavailable;

// The interface that comes next (bodies follow when `kv` and `raft-log` are merged):
//
//     Member::start(MemberConfig, Arc<dyn Network>) -> Result<Member, StartError>     // Clone, cheap
//     member.propose(&kv::Command) -> Result<kv::Outcome, Unavailable>                // async
//     member.barrier() -> Result<(), Unavailable>                                     // async, shared rounds
//     member.read(|store: &kv::Store| ..) -> R
//     member.watch(&Key, recursive, since: Option<u64>) -> Result<Watch, ApiError>    // Watch::next().await
//     member.status() -> Status; member.status_changes() -> leader and role as a watch
//     member.add_member(etcd_api::Member) / remove_member(id) / update_member(id, urls) -> Outcome
//     member.serve_peer(stream)             // after `101 Switching Protocols` to `Upgrade: keelson-peer`
//     member.stopped() -> StopReason        // removed, replaced, failed, asked to
//     member.stop()                         // hands the leadership over first
//     trait Network { fn dial(&self, Target) -> BoxFuture<io::Result<BoxedStream>> }  // TcpNetwork, or simulated
