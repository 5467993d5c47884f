//! What a leader knows of the batches that other members bring it. It must never take the same batch twice.

use std::collections::{BTreeMap, HashMap};

use crate::peer::message::Propose;
use crate::raft::proposer::AppendOutcome;
use crate::raft_types::{BatchId, LeaderId};

/// Batches of other members that the present leadership was given.
#[derive(Default)]
pub struct PendingBatches {
    leader: Option<LeaderId>,
    by_origin: HashMap<(u64, u64), Origin>,
}

#[derive(Default)]
struct Origin {
    /// Everything below is settled for its origin, and will not come again in good faith.
    oldest: u64,
    /// Whether what becomes of each is certain by now.
    sequences: BTreeMap<u64, bool>,
}

/// What a leadership knows of a batch that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchStatus {
    New,
    /// It came before, and is on its way into the log.
    Pending,
    /// It came before, or came too late to matter.
    Settled,
}

impl PendingBatches {
    /// Whether this batch is new to this leadership; from now on it is not.
    pub fn register(&mut self, request: &Propose) -> BatchStatus {
        let leader = Some(request.leader);
        if self.leader != leader {
            if leader < self.leader {
                return BatchStatus::Settled;
            }
            *self = Self { leader, by_origin: HashMap::new() };
        }
        let id = request.batch.id();
        let origin = self.by_origin.entry((id.origin, id.incarnation)).or_default();
        if request.oldest > origin.oldest {
            origin.oldest = request.oldest;
            origin.sequences = origin.sequences.split_off(&request.oldest);
        }
        if id.sequence < origin.oldest {
            return BatchStatus::Settled;
        }
        match origin.sequences.get(&id.sequence) {
            Some(true) => BatchStatus::Settled,
            Some(false) => BatchStatus::Pending,
            None => {
                origin.sequences.insert(id.sequence, false);
                BatchStatus::New
            }
        }
    }

    /// What became of a new batch: one that was refused may come again.
    pub fn settle(&mut self, leader: LeaderId, id: BatchId, outcome: AppendOutcome) {
        if self.leader != Some(leader) {
            return;
        }
        let Some(origin) = self.by_origin.get_mut(&(id.origin, id.incarnation)) else { return };
        match outcome {
            AppendOutcome::Rejected => drop(origin.sequences.remove(&id.sequence)),
            AppendOutcome::Appended => {
                if let Some(settled) = origin.sequences.get_mut(&id.sequence) {
                    *settled = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::raft_types::Batch;

    fn request(term: u64, oldest: u64, sequence: u64) -> Propose {
        let id = BatchId { origin: 7, incarnation: 1, sequence };
        let commands = [Bytes::new()];
        let leader = LeaderId { term, node_id: 1 };
        Propose { leader, oldest, batch: Batch::new(id, commands.iter()) }
    }

    #[test]
    fn a_batch_is_new_once_in_a_leadership_in_any_order() {
        let mut pending_batches = PendingBatches::default();
        assert_eq!(pending_batches.register(&request(1, 0, 1)), BatchStatus::New);
        assert_eq!(pending_batches.register(&request(1, 0, 0)), BatchStatus::New);
        assert_eq!(pending_batches.register(&request(1, 0, 0)), BatchStatus::Pending);
        let first = request(1, 0, 0);
        pending_batches.settle(first.leader, first.batch.id(), AppendOutcome::Appended);
        assert_eq!(pending_batches.register(&first), BatchStatus::Settled);
        assert_eq!(pending_batches.register(&request(2, 0, 1)), BatchStatus::New);
        assert_eq!(pending_batches.register(&request(1, 0, 5)), BatchStatus::Settled);
    }

    #[test]
    fn a_refused_batch_may_come_again() {
        let mut pending_batches = PendingBatches::default();
        let batch = request(1, 0, 0);
        assert_eq!(pending_batches.register(&batch), BatchStatus::New);
        pending_batches.settle(batch.leader, batch.batch.id(), AppendOutcome::Rejected);
        assert_eq!(pending_batches.register(&batch), BatchStatus::New);
    }

    #[test]
    fn a_late_copy_of_a_settled_batch_is_not_new() {
        let mut pending_batches = PendingBatches::default();
        assert_eq!(pending_batches.register(&request(1, 0, 0)), BatchStatus::New);
        assert_eq!(pending_batches.register(&request(1, 3, 4)), BatchStatus::New);
        assert_eq!(pending_batches.register(&request(1, 0, 0)), BatchStatus::Settled);
        assert_eq!(pending_batches.register(&request(1, 0, 2)), BatchStatus::Settled);
        assert_eq!(pending_batches.register(&request(1, 3, 3)), BatchStatus::New);
    }
}
