//! The status of a member and its peers, for response headers, /v2/stats and /metrics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Follower,
    Candidate,
    Leader,
    /// Receives the log but has no vote yet.
    Learner,
    /// Stopped, or removed from the cluster.
    Stopped,
}

/// The leader's statistics of one follower.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PeerStatus {
    pub connected: bool,
    pub successes: u64,
    pub failures: u64,
    /// Of append requests: the last one and all.
    pub latency: Latency,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Latency {
    pub current: Duration,
    pub minimum: Duration,
    pub maximum: Duration,
    pub average: Duration,
    pub deviation: Duration,
}

#[derive(Debug, Clone)]
pub struct Status {
    pub member_id: u64,
    pub cluster_id: u64,
    pub role: Role,
    pub leader: Option<u64>,
    pub term: u64,
    /// The last applied log index.
    pub applied: u64,
    /// When this member first observed `leader`.
    pub leader_since: Instant,
    pub started: Instant,
    /// The commit index. Committed entries are applied immediately, so this is the applied index.
    pub committed: u64,
    /// The number of leader changes observed.
    pub leader_changes: u64,
    /// Pending proposals, and those that failed or timed out.
    pub proposals_pending: u64,
    pub proposals_failed: u64,
    /// The size of the checkpoint in bytes.
    pub state_bytes: u64,
    pub append_received: u64,
    pub append_sent: u64,
    pub peers: BTreeMap<u64, PeerStatus>,
}
