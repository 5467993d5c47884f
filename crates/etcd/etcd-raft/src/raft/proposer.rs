//! Proposes batches to the current leader. A batch is only sent to the leadership it was made for.

use std::sync::Arc;

use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::limits::{PROPOSE_TIMEOUT, PROPOSE_TIMEOUT_PER_KIB, RETRY_INTERVAL};
use crate::membership::peers::Peers;
use crate::peer::link::LinkError;
use crate::peer::message::{self, Propose};
use crate::raft::leadership::Leadership;
use crate::raft_types::{Batch, LeaderId};
use crate::storage::applied::Applied;
use crate::storage::state_machine::Raft;

/// The outcome of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The batch is in the log, or was in the log of a leadership that has ended.
    Appended,
    /// The batch was certainly not appended.
    Rejected,
}

/// Appends a batch under this member's own leadership. Returns when it is applied or rejected.
pub async fn append(raft: &Raft, batch: Batch, leader: LeaderId) -> Result<AppendOutcome, String> {
    let (responder, done) = ProgressResponder::complete_only();
    let written = raft.write(batch).with_leader(leader).responder(responder).await;
    written.map_err(|error| error.to_string())?;
    match done.await {
        Ok(Err(ClientWriteError::ForwardToLeader(_))) => Ok(AppendOutcome::Rejected),
        _ => Ok(AppendOutcome::Appended),
    }
}

#[derive(Clone)]
pub struct Proposer {
    pub raft: Raft,
    pub applied: Arc<Applied>,
    pub peers: Arc<Peers>,
    pub leadership: watch::Receiver<Leadership>,
    /// The leader that could not be reached last, which is the reason for a timeout.
    pub connection_lost: Arc<Mutex<Option<LeaderId>>>,
}

impl Proposer {
    pub async fn run(mut self) {
        loop {
            let leader = self.leadership.borrow_and_update().leader;
            if let Some(leader) = leader
                && self.applied.proposals.has_batch_ready()
            {
                // Lets other tasks propose first, so that their commands share the batch.
                tokio::task::yield_now().await;
                if let Some(batch) = self.applied.proposals.take_batch(leader) {
                    tokio::spawn(self.clone().submit(batch, leader));
                    continue;
                }
            }
            tokio::select! {
                () = self.applied.proposals.wake.notified() => {}
                changed = self.leadership.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn submit(self, batch: Batch, leader: LeaderId) {
        let sequence = batch.id().sequence;
        let own = leader.node_id == self.peers.identity().member_id;
        // Memory without ECC may have corrupted it.
        if let Err(error) = batch.decode() {
            tracing::error!(%error, "a batch of commands cannot be decoded, and is not proposed");
            return self.applied.proposals.cancel(sequence);
        }
        loop {
            let appended = if own {
                append(&self.raft, batch.clone(), leader).await == Ok(AppendOutcome::Appended)
            } else {
                self.forward(&batch, leader).await
            };
            let deposed = self.leadership.borrow().leader != Some(leader);
            if appended || deposed || !self.applied.proposals.is_awaited(sequence) {
                return;
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Whether the leader has accepted the batch. The leader recognizes a batch that is sent again.
    async fn forward(&self, batch: &Batch, leader: LeaderId) -> bool {
        let Some(links) = self.peers.existing_links(leader.node_id) else { return false };
        let oldest = self.applied.proposals.oldest_sequence();
        let request = message::propose(&Propose { leader, oldest, batch: batch.clone() });
        // It may be megabytes over a slow link, and again from the leader to its followers.
        let limit = PROPOSE_TIMEOUT + PROPOSE_TIMEOUT_PER_KIB * (batch.bytes().len() >> 10) as u32;
        match links.bulk.call(message::PROPOSE, request, limit).await {
            Ok(_) => true,
            Err(error) => {
                if error != LinkError::Failed {
                    *self.connection_lost.lock() = Some(leader);
                }
                false
            }
        }
    }
}
