//! The current leader, as observed by this member. A leader is known only after a quorum has elected it.

use std::sync::Arc;
use std::time::Instant;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;

use crate::membership::peers::{Peers, StopReason};
use crate::raft_types::LeaderId;
use crate::status::Role;
use crate::storage::state_machine::Raft;

#[derive(Debug, Clone, Copy)]
pub struct Leadership {
    pub leader: Option<LeaderId>,
    pub term: u64,
    pub role: Role,
    pub since: Instant,
    /// The number of leader changes observed.
    pub changes: u64,
}

impl Leadership {
    pub fn none() -> Self {
        Self { leader: None, term: 0, role: Role::Follower, since: Instant::now(), changes: 0 }
    }
}

/// Follows openraft's metrics until the member stops.
pub async fn follow(raft: Raft, leadership: Arc<watch::Sender<Leadership>>, peers: Arc<Peers>) {
    let mut metrics = raft.metrics();
    loop {
        let (observation, running) = {
            let metrics = metrics.borrow_watched();
            let vote = metrics.vote;
            let known = vote.committed && metrics.current_leader == Some(vote.leader_id.node_id);
            let role = match metrics.state {
                ServerState::Leader => Role::Leader,
                ServerState::Candidate => Role::Candidate,
                ServerState::Learner => Role::Learner,
                ServerState::Follower => Role::Follower,
                ServerState::Shutdown => Role::Stopped,
            };
            let leader = known.then_some(vote.leader_id);
            let term = vote.leader_id.term;
            let observation = Leadership { leader, term, role, since: Instant::now(), changes: 0 };
            (observation, metrics.running_state.clone())
        };
        peers.time().set_leader(observation.leader.map(|leader| leader.node_id));
        leadership.send_if_modified(|now| {
            let leader_changed = now.leader != observation.leader;
            let changed = leader_changed || now.term != observation.term || now.role != observation.role;
            let since = if leader_changed { observation.since } else { now.since };
            let changes = now.changes + u64::from(leader_changed && observation.leader.is_some());
            *now = Leadership { since, changes, ..observation };
            changed
        });
        if let Err(fatal) = running {
            peers.stop(StopReason::Failed(fatal.to_string()));
            return;
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
