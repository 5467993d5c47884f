//! Quorum reads: one round to the leader for all that wait. It must never let a read use a round
//! that began before the read came.

use std::sync::Arc;

use bytes::Bytes;
use etcd_api::Unavailable;
use openraft::ReadPolicy;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};

use crate::applied::Applied;
use crate::leadership::Leadership;
use crate::limits::{ASK_AGAIN_PAUSE, READ_INDEX_TIME, WAITING_READS};
use crate::peer::message;
use crate::peers::Peers;
use crate::raft_types::LeaderId;
use crate::state_machine::Raft;

type Answer = oneshot::Sender<()>;

#[derive(Default)]
pub struct Waiting {
    reads: Mutex<Vec<Answer>>,
    wake: Notify,
}

impl Waiting {
    pub fn push(&self) -> Result<oneshot::Receiver<()>, Unavailable> {
        let (answer, reached) = oneshot::channel();
        let mut reads = self.reads.lock();
        if reads.len() >= WAITING_READS {
            reads.retain(|answer| !answer.is_closed());
            if reads.len() >= WAITING_READS {
                return Err(Unavailable::TooManyRequests);
            }
        }
        reads.push(answer);
        drop(reads);
        self.wake.notify_one();
        Ok(reached)
    }

    /// Drops all that wait, which tells them.
    pub fn stop(&self) {
        self.reads.lock().clear();
    }
}

pub struct ReadBarrier {
    pub waiting: Arc<Waiting>,
    pub raft: Raft,
    pub applied: Arc<Applied>,
    pub peers: Arc<Peers>,
    pub leadership: watch::Receiver<Leadership>,
}

impl ReadBarrier {
    pub async fn run(mut self) {
        loop {
            self.waiting.wake.notified().await;
            // Whoever else is about to read joins this round.
            tokio::task::yield_now().await;
            let round = std::mem::take(&mut *self.waiting.reads.lock());
            if round.is_empty() {
                continue;
            }
            let Some(index) = self.index(&round).await else { return };
            let mut applied = self.applied.index();
            tokio::spawn(async move {
                if applied.wait_for(|applied| *applied >= index).await.is_ok() {
                    for answer in round {
                        // Who gave up waiting misses nothing.
                        answer.send(()).ok();
                    }
                }
            });
        }
    }

    /// The log index that a read must see; asks until there is an answer. `None`: the member stops,
    /// or nobody waits any more.
    async fn index(&mut self, round: &[Answer]) -> Option<u64> {
        loop {
            let leader = self.leadership.borrow_and_update().leader;
            if let Some(leader) = leader
                && let Some(index) = self.ask(leader).await
            {
                return Some(index);
            }
            if round.iter().all(Answer::is_closed) {
                return Some(0);
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_AGAIN_PAUSE) => {}
                changed = self.leadership.changed() => changed.ok()?,
            }
        }
    }

    async fn ask(&self, leader: LeaderId) -> Option<u64> {
        if leader.node_id == self.peers.identity().member_id {
            let asked = self.raft.get_read_linearizer(ReadPolicy::ReadIndex);
            let linearizer = tokio::time::timeout(READ_INDEX_TIME, asked).await.ok()?.ok()?;
            return Some(linearizer.read_log_id().index());
        }
        let links = self.peers.known_links(leader.node_id)?;
        let answer = links.urgent.call(message::READ_INDEX, Bytes::new(), READ_INDEX_TIME).await.ok()?;
        message::read_read_index_answer(answer).ok()?.map(|log_id| log_id.index)
    }
}
