//! Leadership transfer. For lack of disk space, leadership is only transferred to a member that has some.

use std::time::Instant;

use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;

use crate::limits::{FULL_LEADER_TRANSFER_DELAY, LEADER_TRANSFER_TIMEOUT};
use crate::membership::peers::Peers;
use crate::raft::leadership::Leadership;
use crate::storage::disk_space::DiskSpace;
use crate::storage::state_machine::Raft;

/// The most up-to-date eligible voter, if this member leads.
pub fn successor(raft: &Raft, own: u64, eligible: impl Fn(u64) -> bool) -> Option<u64> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let replication = metrics.replication.as_ref()?;
    let voters = metrics.membership_config.voter_ids().filter(|id| *id != own && eligible(*id));
    let matched = voters.map(|id| (replication.get(&id).copied().flatten(), id));
    matched.max().and_then(|(log_id, id)| log_id.map(|_| id))
}

/// Returns when another member leads, or after a timeout.
pub async fn transfer_leadership(
    raft: &Raft,
    mut leadership: watch::Receiver<Leadership>,
    own: u64,
    to: u64,
) {
    tracing::info!(to = format!("{to:x}"), "handing the leadership over");
    if let Err(error) = raft.trigger().transfer_leader(to).await {
        tracing::warn!(%error, "the leadership is not handed over");
        return;
    }
    let others = |now: &Leadership| now.leader.is_some_and(|leader| leader.node_id != own);
    if tokio::time::timeout(LEADER_TRANSFER_TIMEOUT, leadership.wait_for(others)).await.is_err() {
        tracing::warn!("no other member took the leadership over in time");
    }
}

/// Since when this member has led with a full disk.
#[derive(Default)]
pub struct FullDiskLeader(Option<Instant>);

impl FullDiskLeader {
    /// The member to transfer to now because of a full disk.
    pub fn transfer_target(
        &mut self,
        raft: &Raft,
        own: u64,
        disk_space: &DiskSpace,
        peers: &Peers,
    ) -> Option<u64> {
        if disk_space.is_available() {
            self.0 = None;
            return None;
        }
        if self.0.get_or_insert_with(Instant::now).elapsed() < FULL_LEADER_TRANSFER_DELAY {
            return None;
        }
        let to = successor(raft, own, |id| peers.has_disk_space(id))?;
        // If the transfer fails, the next attempt waits again.
        self.0 = None;
        Some(to)
    }
}
