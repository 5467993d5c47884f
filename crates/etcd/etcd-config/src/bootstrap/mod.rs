//! Decides how a member gets to its cluster, as a state machine without I/O.
//!
//! A non-empty data directory takes precedence over flags. Two machines of one cluster never bootstrap two clusters.

mod event;
mod existing;
mod machine;
mod peer_response;
mod peers;
#[cfg(test)]
mod peers_simulation;
mod srv;
#[cfg(test)]
mod tests;

pub use event::{Command, Event, SrvRecord, Start};
pub use machine::Bootstrap;
pub use peer_response::{ClusterProposal, PeerResponse, RunningCluster, RunningMember};
pub use peers::{Peers, PeersCommand};
