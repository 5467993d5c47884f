//! Quorum reads: one read index request to the leader for all waiting reads. A read only uses a request that began
//! after it.

use std::sync::Arc;

use bytes::Bytes;
use etcd_api::Unavailable;
use openraft::ReadPolicy;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};

use crate::limits::{MAX_PENDING_READS, READ_INDEX_TIMEOUT, RETRY_INTERVAL};
use crate::membership::peers::Peers;
use crate::peer::message;
use crate::raft::leadership::Leadership;
use crate::raft_types::LeaderId;
use crate::storage::applied::Applied;
use crate::storage::state_machine::Raft;

type Waiter = oneshot::Sender<()>;

#[derive(Default)]
pub struct PendingReads {
    reads: Mutex<Vec<Waiter>>,
    wake: Notify,
}

impl PendingReads {
    pub fn push(&self) -> Result<oneshot::Receiver<()>, Unavailable> {
        let (waiter, reached) = oneshot::channel();
        let mut reads = self.reads.lock();
        if reads.len() >= MAX_PENDING_READS {
            reads.retain(|waiter| !waiter.is_closed());
            if reads.len() >= MAX_PENDING_READS {
                return Err(Unavailable::TooManyRequests);
            }
        }
        reads.push(waiter);
        drop(reads);
        self.wake.notify_one();
        Ok(reached)
    }

    /// Fails all waiting reads.
    pub fn stop(&self) {
        self.reads.lock().clear();
    }
}

pub struct ReadBarrier {
    pub pending: Arc<PendingReads>,
    pub raft: Raft,
    pub applied: Arc<Applied>,
    pub peers: Arc<Peers>,
    pub leadership: watch::Receiver<Leadership>,
}

impl ReadBarrier {
    pub async fn run(mut self) {
        loop {
            self.pending.wake.notified().await;
            // Lets other reads join this round.
            tokio::task::yield_now().await;
            let round = std::mem::take(&mut *self.pending.reads.lock());
            if round.is_empty() {
                continue;
            }
            let Some(index) = self.read_index(&round).await else { return };
            let mut applied = self.applied.index();
            tokio::spawn(async move {
                if applied.wait_for(|applied| *applied >= index).await.is_ok() {
                    for waiter in round {
                        // The caller may have given up.
                        waiter.send(()).ok();
                    }
                }
            });
        }
    }

    /// The log index that the reads must wait for; retries until the leader responds. `None` if the member stops; 0
    /// if no read is waiting anymore.
    async fn read_index(&mut self, round: &[Waiter]) -> Option<u64> {
        loop {
            let leader = self.leadership.borrow_and_update().leader;
            if let Some(leader) = leader
                && let Some(index) = self.query(leader).await
            {
                return Some(index);
            }
            if round.iter().all(Waiter::is_closed) {
                return Some(0);
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY_INTERVAL) => {}
                changed = self.leadership.changed() => changed.ok()?,
            }
        }
    }

    async fn query(&self, leader: LeaderId) -> Option<u64> {
        if leader.node_id == self.peers.identity().member_id {
            let request = self.raft.get_read_linearizer(ReadPolicy::ReadIndex);
            let linearizer = tokio::time::timeout(READ_INDEX_TIMEOUT, request).await.ok()?.ok()?;
            return Some(linearizer.read_log_id().index());
        }
        let links = self.peers.existing_links(leader.node_id)?;
        let waiter = links.urgent.call(message::READ_INDEX, Bytes::new(), READ_INDEX_TIMEOUT).await.ok()?;
        message::read_read_index_response(waiter).ok()?.map(|log_id| log_id.index)
    }
}
