//! Pending proposals: queued for a batch, then in flight until the batch is applied locally.
//!
//! A command is never in two batches that can both be applied.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use etcd_api::Unavailable;
use etcd_store::Outcome;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::limits::{
    MAX_BATCH_BYTES, MAX_BATCH_COMMANDS, MAX_BATCHES_IN_FLIGHT, MAX_COMMAND_BYTES, MAX_PENDING_BYTES,
    MAX_PENDING_PROPOSALS,
};
use crate::raft_types::{Batch, BatchId, LeaderId};

pub type ProposalResult = Result<Outcome, Unavailable>;

struct QueuedProposal {
    command: Bytes,
    reply: oneshot::Sender<ProposalResult>,
}

/// A batch that was sent to a leader. Only this leader can have it in its log.
struct InFlight {
    leader: LeaderId,
    batch: Batch,
    replies: Vec<oneshot::Sender<ProposalResult>>,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<QueuedProposal>,
    in_flight: BTreeMap<u64, InFlight>,
    pending: usize,
    pending_bytes: usize,
    next_sequence: u64,
    stopped: bool,
}

pub struct Proposals {
    origin: u64,
    incarnation: u64,
    inner: Mutex<Inner>,
    /// Notified when a batch may be ready.
    pub wake: Notify,
}

impl Proposals {
    pub fn new(origin: u64, incarnation: u64) -> Self {
        Self { origin, incarnation, inner: Mutex::default(), wake: Notify::new() }
    }

    /// Queues commands contiguously, all or none.
    pub fn push(&self, commands: Vec<Bytes>) -> Result<Vec<oneshot::Receiver<ProposalResult>>, Unavailable> {
        let bytes = commands.iter().map(Bytes::len).sum::<usize>();
        if commands.iter().any(|command| command.len() > MAX_COMMAND_BYTES) {
            return Err(Unavailable::TooLarge);
        }
        let mut inner = self.inner.lock();
        if inner.stopped {
            return Err(Unavailable::Stopped);
        }
        if inner.is_full(commands.len(), bytes) {
            inner.drop_abandoned();
            if inner.is_full(commands.len(), bytes) {
                return Err(Unavailable::TooManyRequests);
            }
        }
        inner.pending += commands.len();
        inner.pending_bytes += bytes;
        let mut receivers = Vec::with_capacity(commands.len());
        for command in commands {
            let (reply, receiver) = oneshot::channel();
            inner.queue.push_back(QueuedProposal { command, reply });
            receivers.push(receiver);
        }
        drop(inner);
        self.wake.notify_one();
        Ok(receivers)
    }

    /// Commands without an outcome.
    pub fn pending(&self) -> u64 {
        self.inner.lock().pending as u64
    }

    pub fn has_batch_ready(&self) -> bool {
        let inner = self.inner.lock();
        !inner.queue.is_empty() && inner.in_flight.len() < MAX_BATCHES_IN_FLIGHT
    }

    /// The next batch for `leader`; `None` if the queue is empty or enough batches are in flight.
    pub fn take_batch(&self, leader: LeaderId) -> Option<Batch> {
        let mut inner = self.inner.lock();
        if inner.in_flight.len() >= MAX_BATCHES_IN_FLIGHT {
            return None;
        }
        let (mut commands, mut replies, mut bytes) = (Vec::new(), Vec::new(), 0);
        while commands.len() < MAX_BATCH_COMMANDS {
            let Some(next) = inner.queue.front() else { break };
            if !commands.is_empty() && bytes + next.command.len() > MAX_BATCH_BYTES {
                break;
            }
            let Some(QueuedProposal { command, reply }) = inner.queue.pop_front() else { break };
            // The caller has given up, and the command was never sent.
            if reply.is_closed() {
                inner.release(1, command.len());
                continue;
            }
            bytes += command.len();
            commands.push(command);
            replies.push(reply);
        }
        if commands.is_empty() {
            return None;
        }
        let sequence = inner.next_sequence;
        inner.next_sequence += 1;
        let id = BatchId { origin: self.origin, incarnation: self.incarnation, sequence };
        let batch = Batch::new(id, commands.iter());
        inner.in_flight.insert(sequence, InFlight { leader, batch: batch.clone(), replies });
        Some(batch)
    }

    /// Whether a batch in flight is still awaited. An abandoned batch is dropped: retried much later, it could set
    /// expirations that have been extended since.
    pub fn is_awaited(&self, sequence: u64) -> bool {
        let mut inner = self.inner.lock();
        let Some(flight) = inner.in_flight.get(&sequence) else { return false };
        if flight.replies.iter().any(|reply| !reply.is_closed()) {
            return true;
        }
        if let Some(flight) = inner.in_flight.remove(&sequence) {
            inner.release(flight.replies.len(), flight.size());
        }
        drop(inner);
        self.wake.notify_one();
        false
    }

    /// The first sequence number that is still in flight.
    pub fn oldest_sequence(&self) -> u64 {
        let inner = self.inner.lock();
        inner.in_flight.keys().next().copied().unwrap_or(inner.next_sequence)
    }

    pub fn is_ours(&self, id: &BatchId) -> bool {
        id.origin == self.origin && id.incarnation == self.incarnation
    }

    /// Resolves a batch that was applied.
    pub fn resolve(&self, sequence: u64, outcomes: Vec<Outcome>) {
        let mut inner = self.inner.lock();
        let Some(flight) = inner.in_flight.remove(&sequence) else { return };
        inner.release(flight.replies.len(), flight.size());
        drop(inner);
        self.wake.notify_one();
        for (reply, outcome) in flight.replies.into_iter().zip(outcomes) {
            // The caller may have given up.
            reply.send(Ok(outcome)).ok();
        }
    }

    /// An entry of `leader` was applied: batches sent to earlier leaders and not applied by now never will be. Their
    /// commands return to the front of the queue, in order.
    pub fn requeue_lost(&self, leader: &LeaderId) {
        let mut inner = self.inner.lock();
        let lost = inner.in_flight.iter().filter(|(_, flight)| flight.leader < *leader);
        let lost = lost.map(|(sequence, _)| *sequence).collect::<Vec<_>>();
        if lost.is_empty() {
            return;
        }
        tracing::info!(batches = lost.len(), "proposing again what the last leader did not commit");
        for sequence in lost.into_iter().rev() {
            let Some(flight) = inner.in_flight.remove(&sequence) else { continue };
            let commands = flight.batch.commands().collect::<Vec<_>>();
            for (command, reply) in commands.into_iter().zip(flight.replies).rev() {
                inner.queue.push_front(QueuedProposal { command, reply });
            }
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// The state was replaced by a snapshot, which may or may not include the batches in flight.
    pub fn fail_in_flight(&self) {
        let mut inner = self.inner.lock();
        for flight in std::mem::take(&mut inner.in_flight).into_values() {
            inner.release(flight.replies.len(), flight.size());
            for reply in flight.replies {
                reply.send(Err(Unavailable::LeaderFailed)).ok();
            }
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Fails a batch that was sent to no leader.
    pub fn cancel(&self, sequence: u64) {
        let mut inner = self.inner.lock();
        let Some(flight) = inner.in_flight.remove(&sequence) else { return };
        inner.release(flight.replies.len(), flight.size());
        drop(inner);
        self.wake.notify_one();
        for reply in flight.replies {
            reply.send(Err(Unavailable::Cancelled)).ok();
        }
    }

    /// Fails everything pending and rejects new proposals.
    pub fn stop(&self) {
        let mut inner = self.inner.lock();
        inner.stopped = true;
        let queued = std::mem::take(&mut inner.queue).into_iter().map(|queued| queued.reply);
        let in_flight = std::mem::take(&mut inner.in_flight);
        drop(inner);
        for reply in queued.chain(in_flight.into_values().flat_map(|flight| flight.replies)) {
            reply.send(Err(Unavailable::Stopped)).ok();
        }
    }
}

impl InFlight {
    fn size(&self) -> usize {
        self.batch.commands().map(|command| command.len()).sum()
    }
}

impl Inner {
    fn is_full(&self, count: usize, bytes: usize) -> bool {
        let too_long = self.pending_bytes + bytes > MAX_PENDING_BYTES && self.pending > 0;
        self.pending + count > MAX_PENDING_PROPOSALS || too_long
    }

    fn release(&mut self, count: usize, bytes: usize) {
        self.pending -= count;
        self.pending_bytes -= bytes;
    }

    fn drop_abandoned(&mut self) {
        let (mut count, mut bytes) = (0, 0);
        self.queue.retain(|queued| {
            let abandoned = queued.reply.is_closed();
            if abandoned {
                count += 1;
                bytes += queued.command.len();
            }
            !abandoned
        });
        self.release(count, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader(term: u64) -> LeaderId {
        LeaderId { term, node_id: 1 }
    }

    fn command(number: u8) -> Vec<Bytes> {
        vec![Bytes::from(vec![number])]
    }

    fn commands(batch: &Batch) -> Vec<u8> {
        batch.commands().map(|command| command[0]).collect()
    }

    #[test]
    fn pending_commands_are_batched_in_order() {
        let proposals = Proposals::new(1, 2);
        let _answers = (0..3).map(|number| proposals.push(command(number))).collect::<Vec<_>>();
        let batch = proposals.take_batch(leader(1)).unwrap();
        assert_eq!(commands(&batch), [0, 1, 2]);
        assert!(proposals.take_batch(leader(1)).is_none());
    }

    #[test]
    fn only_a_later_leader_requeues_batches_in_order() {
        let proposals = Proposals::new(1, 2);
        let mut replies = Vec::new();
        for number in 0..2 {
            replies.push(proposals.push(command(number)).unwrap());
            proposals.take_batch(leader(1)).unwrap();
        }
        replies.push(proposals.push(command(2)).unwrap());
        proposals.requeue_lost(&leader(1));
        assert!(proposals.is_awaited(0) && proposals.is_awaited(1));
        proposals.requeue_lost(&leader(2));
        assert!(!proposals.is_awaited(0));
        assert_eq!(commands(&proposals.take_batch(leader(2)).unwrap()), [0, 1, 2]);
    }

    #[test]
    fn a_batch_that_nobody_waits_for_is_not_sent_again() {
        let proposals = Proposals::new(1, 2);
        let replies = proposals.push([command(0), command(1)].concat()).unwrap();
        let sequence = proposals.take_batch(leader(1)).unwrap().id().sequence;
        let [first, second] = <[_; 2]>::try_from(replies).unwrap();
        drop(first);
        assert!(proposals.is_awaited(sequence));
        drop(second);
        assert!(!proposals.is_awaited(sequence));
        assert_eq!((proposals.pending(), proposals.oldest_sequence()), (0, sequence + 1));
        // Its commands are in no other batch.
        proposals.requeue_lost(&leader(2));
        assert!(proposals.take_batch(leader(2)).is_none());
    }

    #[test]
    fn an_applied_batch_is_never_proposed_again() {
        let proposals = Proposals::new(1, 2);
        let mut reply = proposals.push(command(0)).unwrap().remove(0);
        let batch = proposals.take_batch(leader(1)).unwrap();
        let outcome = etcd_store::Store::new()
            .apply(&etcd_store::Command::Sync { now: etcd_api::Timestamp::from_unix_nanos(0) });
        proposals.resolve(batch.id().sequence, vec![outcome.clone()]);
        proposals.requeue_lost(&leader(2));
        assert!(proposals.take_batch(leader(2)).is_none());
        assert_eq!(reply.try_recv().unwrap(), Ok(outcome));
    }

    #[test]
    fn abandoned_commands_free_the_queue() {
        let proposals = Proposals::new(1, 2);
        let kept = proposals.push(command(7)).unwrap();
        let abandoned = proposals.push(vec![Bytes::from_static(b"x"); MAX_PENDING_PROPOSALS - 1]);
        assert_eq!(proposals.push(command(1)).err(), Some(Unavailable::TooManyRequests));
        drop(abandoned);
        let last = proposals.push(command(1)).unwrap();
        assert_eq!(commands(&proposals.take_batch(leader(1)).unwrap()), [7, 1]);
        drop((kept, last));
    }
}
