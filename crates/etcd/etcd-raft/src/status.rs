//! What a member knows about itself and its peers: for headers, /v2/stats and /metrics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Follower,
    Candidate,
    Leader,
    /// Receives the log, but has no vote (yet).
    Learner,
    /// Stopped, or removed from the cluster.
    Stopped,
}

/// What the leader measured of one follower.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PeerStatus {
    pub connected: bool,
    pub successes: u64,
    pub failures: u64,
    /// Of append requests: the last, and over all of them.
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
    /// The last log index that this member has applied.
    pub applied: u64,
    /// Since when `leader` leads, as this member saw it.
    pub leader_since: Instant,
    pub started: Instant,
    /// What raft knows to be committed is applied as soon as it is here: the same as `applied` but for moments.
    pub committed: u64,
    /// Leaders seen so far.
    pub leader_changes: u64,
    /// Proposals that wait, and those that got no outcome in time.
    pub proposals_pending: u64,
    pub proposals_failed: u64,
    /// Bytes of the checkpoint on disk.
    pub state_bytes: u64,
    pub append_received: u64,
    pub append_sent: u64,
    pub peers: BTreeMap<u64, PeerStatus>,
}
