//! The batches that other members have sent to this leader. Each is appended at most once.

use std::collections::{BTreeMap, HashMap};

use crate::peer::message::Propose;
use crate::raft::proposer::AppendOutcome;
use crate::raft_types::{BatchId, LeaderId};

/// The batches received under the current leadership.
#[derive(Default)]
pub struct PendingBatches {
    leader: Option<LeaderId>,
    by_origin: HashMap<(u64, u64), Origin>,
}

#[derive(Default)]
struct Origin {
    /// All lower sequence numbers are settled and are not sent again.
    oldest: u64,
    /// Whether each batch is settled.
    sequences: BTreeMap<u64, bool>,
}

/// What the leader knows of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchStatus {
    New,
    /// Received before and being appended.
    Pending,
    /// Received before and settled, or too late to matter.
    Settled,
}

impl PendingBatches {
    /// Returns the status of a batch, and registers a new one.
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

    /// Settles a new batch. A rejected one may be sent again.
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
    fn a_batch_is_new_once_per_leadership() {
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
    fn a_rejected_batch_may_be_sent_again() {
        let mut pending_batches = PendingBatches::default();
        let batch = request(1, 0, 0);
        assert_eq!(pending_batches.register(&batch), BatchStatus::New);
        pending_batches.settle(batch.leader, batch.batch.id(), AppendOutcome::Rejected);
        assert_eq!(pending_batches.register(&batch), BatchStatus::New);
    }

    #[test]
    fn a_late_copy_of_a_batch_is_settled() {
        let mut pending_batches = PendingBatches::default();
        assert_eq!(pending_batches.register(&request(1, 0, 0)), BatchStatus::New);
        assert_eq!(pending_batches.register(&request(1, 3, 4)), BatchStatus::New);
        assert_eq!(pending_batches.register(&request(1, 0, 0)), BatchStatus::Settled);
        assert_eq!(pending_batches.register(&request(1, 0, 2)), BatchStatus::Settled);
        assert_eq!(pending_batches.register(&request(1, 3, 3)), BatchStatus::New);
    }
}
