//! Driving openraft: proposals, reads, leadership and requests of other members.

pub mod append_request;
pub mod heartbeat;
pub mod leader_transfer;
pub mod leadership;
pub mod peer_service;
pub mod pending_batches;
pub mod proposer;
pub mod raft_network;
pub mod read_barrier;
