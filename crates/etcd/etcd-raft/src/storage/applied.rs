//! The applied state, shared by readers, watchers and the applier. It changes only by applying the log in order.

use std::sync::atomic::{AtomicBool, Ordering};

use etcd_store::watch::{Hub, WatcherAction};
use etcd_store::watch_queue::{SendResult, Sender};
use etcd_store::{Outcome, Store};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::limits::WATCH_QUEUE;
use crate::proposals::Proposals;
use crate::raft_types::{Batch, LogId, SnapshotMeta, StoredMembership};
use crate::storage::checkpoint::{Checkpoint, CheckpointError};
use crate::storage::read_watermark::ReadWatermark;

pub struct Inner {
    pub store: Store,
    pub hub: Hub<Watcher>,
    pub last_applied: Option<LogId>,
    pub membership: StoredMembership,
}

/// The hub's side of a watch.
pub struct Watcher {
    pub sender: Sender,
    /// The watch ends after its first event.
    pub once: bool,
}

/// The lock is fair: readers cannot starve the applier.
pub struct Applied {
    inner: RwLock<Inner>,
    /// Not locked by readers: it is written before the state is locked.
    read_watermark: Mutex<ReadWatermark>,
    /// The last applied log index.
    index: watch::Sender<u64>,
    /// A copy of the state's flag: whether requests need credentials.
    auth: AtomicBool,
    /// Whether local reads may have been served.
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

    /// Loads the state of a checkpoint. Watches end, because they have missed events.
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

    /// Starts to record the read watermark: local reads may be served from now on.
    pub fn start_serving_reads(&self) {
        if !self.serves_reads.swap(true, Ordering::Relaxed) {
            let last = self.inner.read().last_applied;
            self.read_watermark.lock().start(last.as_ref());
        }
    }

    /// Must be called before any entry up to `log_id` is applied; once for a batch of entries.
    pub fn advance_read_watermark(&self, log_id: &LogId) {
        self.read_watermark.lock().advance(log_id);
    }

    /// The number of watermark writes.
    #[cfg(test)]
    pub fn watermark_writes(&self) -> usize {
        self.read_watermark.lock().writes
    }

    pub fn read<R>(&self, read: impl FnOnce(&Store) -> R) -> R {
        read(&self.inner.read().store)
    }

    /// Whether the member was removed from the record and from raft's configuration.
    pub fn is_removed(&self, member_id: u64) -> bool {
        let inner = self.inner.read();
        let removed = inner.store.membership().is_removed(member_id);
        removed && inner.membership.get_node(&member_id).is_none()
    }

    /// Whether the member is in raft's configuration or in the record of members.
    pub fn is_member(&self, member_id: u64) -> bool {
        let inner = self.inner.read();
        inner.membership.get_node(&member_id).is_some() || inner.store.membership().get(member_id).is_some()
    }

    pub fn has_no_members(&self) -> bool {
        self.inner.read().membership.nodes().next().is_none()
    }

    /// Whether the state records another disk of the member.
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

    /// The last applied index, without a subscription: it is part of every response.
    pub fn last_index(&self) -> u64 {
        *self.index.borrow()
    }

    /// Whether requests need credentials, without a lock: every request asks.
    pub fn auth_enabled(&self) -> bool {
        self.auth.load(Ordering::Acquire)
    }

    /// Called with the state locked, so that no reader sees a stale flag.
    fn update_auth(&self, store: &Store) {
        self.auth.store(store.auth().is_enabled(), Ordering::Release);
    }

    /// The number of open watches.
    pub fn watchers(&self) -> usize {
        self.inner.read().hub.len()
    }

    pub fn publish(&self, last: Option<LogId>) {
        if let Some(last) = last {
            self.index.send_replace(last.index);
        }
    }

    /// Applies a batch, notifies watchers, then resolves this member's own callers.
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
            // Responses carry the log index, so it is published first.
            self.publish(Some(log_id));
            self.proposals.resolve(id.sequence, outcomes);
        }
        Ok(())
    }

    /// Applies an entry without commands.
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
            // The watcher is too slow or closed: its stream ends after the queued events.
            SendResult::Queued | SendResult::Closed => WatcherAction::Remove,
        });
    }
}
