//! How a member comes to its cluster: a machine that is told facts and says what to do next.
//!
//! A data directory that holds something decides alone; flags count only where it is empty. The machine never
//! looks, asks or waits by itself, and two machines of one cluster never start two.

mod event;
mod existing;
mod machine;
mod peer_answer;
mod peers;
#[cfg(test)]
mod peers_simulation;
mod srv;
#[cfg(test)]
mod tests;

pub use event::{Command, Event, SrvRecord, Start};
pub use machine::Bootstrap;
pub use peer_answer::{PeerAnswer, RunningCluster, RunningMember, Wish};
pub use peers::{Peers, PeersCommand};
