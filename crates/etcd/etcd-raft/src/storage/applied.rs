//! The applied state that readers, watchers and the applier share. It must never be changed but by
//! applying the log, in its order.

use std::sync::atomic::{AtomicBool, Ordering};

use etcd_store::watch::{Hub, WatcherAction};
use etcd_store::watch_queue::{SendResult, Sender};
use etcd_store::{Outcome, Store};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::limits::WATCH_QUEUE;
use crate::proposals::Proposals;
use crate::raft_types::{Batch, LogId, SnapshotMeta, StoredMembership};
use crate::read_watermark::ReadWatermark;

pub struct Inner {
    pub store: Store,
    pub hub: Hub<Watcher>,
    pub last_applied: Option<LogId>,
    pub membership: StoredMembership,
}

/// The hub's end of a watch.
pub struct Watcher {
    pub sender: Sender,
    /// It ends with its first event.
    pub once: bool,
}

/// parking_lot's lock lets a waiting writer go before readers that come later: readers cannot
/// starve the applier.
pub struct Applied {
    inner: RwLock<Inner>,
    /// No reader waits for it: it is writes before the state is locked.
    read_watermark: Mutex<ReadWatermark>,
    /// The last applied log index.
    index: watch::Sender<u64>,
    /// Of the state: whether requests need credentials.
    auth: AtomicBool,
    /// Whether what is applied may have been read_watermark: no reader comes before.
    serves_reads: AtomicBool,
    pub proposals: Proposals,
}

#[derive(Debug, thiserror::Error)]
#[error("log entry {index} holds a command that this version cannot read")]
pub struct UnreadableCommand {
    pub index: u64,
    #[source]
    source: etcd_store::DecodeError,
}

impl Applied {
    pub fn new(proposals: Proposals, read_watermark: ReadWatermark) -> Self {
        let inner = Inner {
            store: Store::new(),
            hub: Hub::new(),
            last_applied: None,
            membership: StoredMembership::default(),
        };
        Self {
            inner: RwLock::new(inner),
            read_watermark: Mutex::new(read_watermark),
            index: watch::Sender::new(0),
            auth: AtomicBool::new(false),
            serves_reads: AtomicBool::new(false),
            proposals,
        }
    }

    /// Takes the state of a checkpoint. Watches end: events between then and now were not seen.
    pub fn restore(&self, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        let view = checkpoint.view()?;
        let Some(meta) = view.meta()? else { return Ok(()) };
        let store = view.restore()?;
        if let Some(last) = &meta.last_log_id {
            self.advance_read_watermark(last);
        }
        let mut inner = self.inner.write();
        inner.store = store;
        inner.hub = Hub::new();
        inner.last_applied = meta.last_log_id;
        inner.membership = meta.last_membership;
        self.update_auth(&inner.store);
        drop(inner);
        self.publish(meta.last_log_id);
        Ok(())
    }

    /// From now on readers may come: where they have seen the log is kept.
    pub fn start_serving_reads(&self) {
        if !self.serves_reads.swap(true, Ordering::Relaxed) {
            let last = self.inner.read().last_applied;
            self.read_watermark.lock().start(last.as_ref());
        }
    }

    /// To be called before anything up to `log_id` is applied, once for all that is applied together.
    pub fn advance_read_watermark(&self, log_id: &LogId) {
        self.read_watermark.lock().advance(log_id);
    }

    /// How often the place was writes down.
    #[cfg(test)]
    pub fn watermark_writes(&self) -> usize {
        self.read_watermark.lock().writes
    }

    pub fn read<R>(&self, read: impl FnOnce(&Store) -> R) -> R {
        read(&self.inner.read().store)
    }

    /// Removed for good, and raft does not need its vote any more to say so.
    pub fn is_removed(&self, member_id: u64) -> bool {
        let inner = self.inner.read();
        let removed = inner.store.membership().is_removed(member_id);
        removed && inner.membership.get_node(&member_id).is_none()
    }

    /// Whether this id is in raft's membership or in the record of members.
    pub fn is_member(&self, member_id: u64) -> bool {
        let inner = self.inner.read();
        inner.membership.get_node(&member_id).is_some() || inner.store.membership().get(member_id).is_some()
    }

    pub fn has_no_members(&self) -> bool {
        self.inner.read().membership.nodes().next().is_none()
    }

    /// Whether the state records a disk of the member, and that is another.
    pub fn has_other_disk(&self, member_id: u64, disk: u128) -> bool {
        let recorded = self.inner.read().store.membership().disk(member_id);
        recorded.is_some_and(|recorded| recorded != disk)
    }

    pub fn with_inner<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        change(&mut self.inner.write())
    }

    pub fn meta(&self) -> SnapshotMeta {
        let inner = self.inner.read();
        SnapshotMeta { last_log_id: inner.last_applied, last_membership: inner.membership.clone() }
    }

    pub fn index(&self) -> watch::Receiver<u64> {
        self.index.subscribe()
    }

    /// The last applied index now: no subscription, for what every answer asks.
    pub fn last_index(&self) -> u64 {
        *self.index.borrow()
    }

    /// Whether requests need credentials: no lock, for what every request asks.
    pub fn auth_enabled(&self) -> bool {
        self.auth.load(Ordering::Acquire)
    }

    /// For who holds the lock: nobody sees the state without what it says here.
    fn update_auth(&self, store: &Store) {
        self.auth.store(store.auth().is_enabled(), Ordering::Release);
    }

    /// Open watches.
    pub fn watchers(&self) -> usize {
        self.inner.read().hub.len()
    }

    pub fn publish(&self, last: Option<LogId>) {
        if let Some(last) = last {
            self.index.send_replace(last.index);
        }
    }

    /// Applies one batch, tells watchers, then answers this member's own callers.
    pub fn apply_batch(&self, log_id: LogId, batch: &Batch) -> Result<(), UnreadableCommand> {
        let unreadable = |source| UnreadableCommand { index: log_id.index, source };
        let commands = batch.decode().map_err(unreadable)?;
        let id = batch.id();
        let ours = self.proposals.is_ours(&id);
        let mut outcomes = Vec::with_capacity(if ours { commands.len() } else { 0 });
        let mut inner = self.inner.write();
        for command in &commands {
            let outcome = inner.store.apply(command);
            notify(&mut inner.hub, &outcome);
            if ours {
                outcomes.push(outcome);
            }
        }
        inner.last_applied = Some(log_id);
        self.update_auth(&inner.store);
        drop(inner);
        self.proposals.requeue_lost(&log_id.leader_id);
        if ours {
            // An answer carries the log's index: it is told first.
            self.publish(Some(log_id));
            self.proposals.resolve(id.sequence, outcomes);
        }
        Ok(())
    }

    /// An entry without commands.
    pub fn apply_other(&self, log_id: LogId, membership: Option<StoredMembership>) {
        let mut inner = self.inner.write();
        inner.last_applied = Some(log_id);
        if let Some(membership) = membership {
            inner.membership = membership;
        }
        drop(inner);
        self.proposals.requeue_lost(&log_id.leader_id);
    }
}

fn notify(hub: &mut Hub<Watcher>, outcome: &Outcome) {
    for event in outcome.watch_events() {
        hub.notify(event, |_, watcher, event| match watcher.sender.send(event, WATCH_QUEUE) {
            SendResult::Queued if !watcher.once => WatcherAction::Keep,
            // Too slow, or gone: its stream ends after what it has.
            SendResult::Queued | SendResult::Closed => WatcherAction::Remove,
        });
    }
}
