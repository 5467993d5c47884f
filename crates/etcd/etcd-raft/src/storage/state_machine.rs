//! openraft's state machine: applies the log, and builds and installs snapshots. Building a checkpoint does not block
//! applying: the changes are taken, then written on another thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;

use crate::disk_metrics::DiskMetrics;
use crate::environment::{Executor, run_blocking};
use crate::limits::{APPLY_BATCH_ENTRIES, FULL_DISK_RETRY_INTERVAL};
use crate::raft_types::{Entry, LogId, SnapshotMeta, StoredMembership, Types};
use crate::storage::applied::Applied;
use crate::storage::checkpoint::{Checkpoint, CheckpointError, View};
use crate::storage::snapshot_transfer::{self, SnapshotReceiver};

/// A snapshot to send, or one that was received completely.
pub enum SnapshotData {
    View(View),
    Received(SnapshotReceiver),
}

pub type Raft = openraft::Raft<Types, StateMachine>;
pub type MemberSnapshot = openraft::alias::SnapshotOf<Types, SnapshotData>;

#[derive(Clone)]
pub struct StateMachine {
    applied: Arc<Applied>,
    checkpoint: Arc<Mutex<Checkpoint>>,
    /// Bytes of log applied since the last checkpoint.
    log_bytes: Arc<AtomicU64>,
    metrics: Arc<dyn DiskMetrics>,
    executor: Arc<dyn Executor>,
}

impl StateMachine {
    pub fn new(
        applied: Arc<Applied>,
        checkpoint: Checkpoint,
        metrics: Arc<dyn DiskMetrics>,
        executor: Arc<dyn Executor>,
    ) -> Self {
        let checkpoint = Arc::new(Mutex::new(checkpoint));
        Self { applied, checkpoint, log_bytes: Arc::new(AtomicU64::new(0)), metrics, executor }
    }

    pub fn checkpoint(&self) -> Checkpoint {
        self.checkpoint.lock().clone()
    }

    /// The size of the checkpoint on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.checkpoint.lock().disk_bytes()
    }

    pub fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    fn apply_one(&self, entry: Entry) -> io::Result<()> {
        match entry.payload {
            EntryPayload::Normal(batch) => {
                let bytes = batch.bytes().len() as u64;
                self.log_bytes.fetch_add(bytes, Ordering::Relaxed);
                self.applied.apply_batch(entry.log_id, &batch).map_err(io::Error::other)?;
            }
            EntryPayload::Blank => self.applied.apply_other(entry.log_id, None),
            EntryPayload::Membership(membership) => {
                let stored = StoredMembership::new(Some(entry.log_id), membership);
                self.applied.apply_other(entry.log_id, Some(stored));
            }
        }
        Ok(())
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let meta = self.applied.meta();
        Ok((meta.last_log_id, meta.last_membership))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut last = None;
        // One watermark update for all entries that are ready: openraft passes committed entries only.
        let mut entries = entries.ready_chunks(APPLY_BATCH_ENTRIES);
        while let Some(batch) = entries.next().await {
            if let Some((end, _)) = batch.iter().rev().find_map(|entry| entry.as_ref().ok()) {
                self.applied.advance_read_watermark(&end.log_id);
            }
            for entry in batch {
                let (entry, responder) = entry?;
                last = Some(entry.log_id);
                self.apply_one(entry)?;
                if let Some(responder) = responder {
                    responder.send(());
                }
            }
        }
        self.applied.publish(last);
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.log_bytes.store(0, Ordering::Relaxed);
        let checkpoint = self.checkpoint.lock().clone();
        let (changes, meta) = self.applied.with_inner(|inner| {
            let meta =
                SnapshotMeta { last_log_id: inner.last_applied, last_membership: inner.membership.clone() };
            (inner.store.take_changes(), meta)
        });
        let (metrics, executor) = (Arc::clone(&self.metrics), Arc::clone(&self.executor));
        Builder { work: Some((changes, meta)), checkpoint, metrics, executor }
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        // At the start openraft passes the checkpoint that the state was restored from.
        let SnapshotData::Received(receiver) = snapshot else { return Ok(()) };
        let applied = Arc::clone(&self.applied);
        let installed = run_blocking(&*self.executor, move || {
            let installed = receiver.install()?;
            applied.restore(&installed)?;
            Ok::<_, CheckpointError>(installed)
        })
        .await??;
        self.applied.proposals.fail_in_flight();
        let old = std::mem::replace(&mut *self.checkpoint.lock(), installed);
        // The new state is in use. A backup may still have the old one open; the next start removes it.
        if let Err(error) = run_blocking(&*self.executor, move || snapshot_transfer::remove(&old)).await? {
            tracing::warn!(%error, "the replaced state could not be deleted");
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<MemberSnapshot>, io::Error> {
        let view = self.checkpoint.lock().view()?;
        let meta = view.meta()?;
        Ok(meta.map(|meta| Snapshot { meta, snapshot: SnapshotData::View(view) }))
    }
}

/// Writes one checkpoint.
pub struct Builder {
    work: Option<(etcd_store::Changes, SnapshotMeta)>,
    checkpoint: Checkpoint,
    metrics: Arc<dyn DiskMetrics>,
    executor: Arc<dyn Executor>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<MemberSnapshot, io::Error> {
        let Some((changes, meta)) = self.work.take() else {
            return Err(io::Error::other("a checkpoint is written once"));
        };
        let (mut reported, mut tried_again) = (false, false);
        loop {
            // The store returns its changes only once, so they are kept until they are written.
            let (checkpoint, metrics) = (self.checkpoint.clone(), Arc::clone(&self.metrics));
            let (changes, meta) = (changes.clone(), meta.clone());
            let written = run_blocking(&*self.executor, move || {
                let began = Instant::now();
                let committed = checkpoint.commit(changes, &meta);
                if committed.is_ok() {
                    metrics.checkpoint_committed(began.elapsed());
                }
                committed.and_then(|()| Ok((checkpoint.view()?, meta)))
            });
            match written.await? {
                Ok((view, meta)) => return Ok(Snapshot { meta, snapshot: SnapshotData::View(view) }),
                // An error would stop the member. The log has everything, so the checkpoint can wait.
                Err(error) if error.is_full() => {
                    if !reported {
                        tracing::error!(%error, "the disk is full: the checkpoint waits for room");
                        reported = true;
                    }
                    tokio::time::sleep(FULL_DISK_RETRY_INTERVAL).await;
                }
                // Space may have been freed since the write: a second failure means a failing disk.
                Err(error) if error.may_be_short_write() && !tried_again => tried_again = true,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures_util::stream;

    use super::*;
    use crate::environment::SystemEnvironment;
    use crate::proposals::Proposals;
    use crate::raft_types::LeaderId;
    use crate::storage::{checkpoint, read_watermark};

    fn blank(index: u64) -> Entry {
        let log_id = LogId { leader_id: LeaderId { term: 2, node_id: 7 }, index };
        Entry { log_id, payload: EntryPayload::Blank }
    }

    fn machine(folder: &Path) -> (StateMachine, Arc<Applied>) {
        let (read_watermark, _) = read_watermark::open(folder).unwrap();
        let applied = Arc::new(Applied::new(Proposals::new(1, 2), read_watermark));
        let checkpoint = checkpoint::open(&folder.join("state")).unwrap();
        let (metrics, executor) = (Arc::new(()), Arc::new(SystemEnvironment));
        (StateMachine::new(Arc::clone(&applied), checkpoint, metrics, executor), applied)
    }

    /// The new state is in use by then, and an error would stop the member.
    #[tokio::test]
    async fn a_replaced_state_that_cannot_be_removed_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let (mut machine, applied) = machine(folder.path());
        let old = machine.checkpoint.lock().clone();
        let receiver = SnapshotReceiver::begin(&old).unwrap();
        let meta = SnapshotMeta { last_log_id: Some(blank(3).log_id), ..SnapshotMeta::default() };
        receiver.complete(&meta).unwrap();
        // A file cannot be removed as a directory, not even by root. It keeps the name, which the new state would
        // take otherwise.
        std::fs::remove_dir_all(&old.folder).unwrap();
        std::fs::write(&old.folder, b"").unwrap();
        assert!(snapshot_transfer::remove(&old).is_err());
        machine.install_snapshot(&meta, SnapshotData::Received(receiver)).await.unwrap();
        assert_eq!(applied.meta().last_log_id, meta.last_log_id);
        assert_ne!(machine.checkpoint.lock().folder, old.folder);
    }

    #[tokio::test]
    async fn the_watermark_is_written_once_per_batch_and_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut machine, applied) = machine(folder.path());
        applied.start_serving_reads();
        let cut = Err(io::Error::other("the log ends here"));
        let entries = (1..=10).map(|index| Ok((blank(index), None))).chain([cut]);
        assert!(machine.apply(stream::iter(entries)).await.is_err());
        assert_eq!(applied.watermark_writes(), 1);
        assert_eq!(applied.meta().last_log_id, Some(blank(10).log_id));
        assert_eq!(read_watermark::open(folder.path()).unwrap().1, Some(blank(10).log_id));
    }
}
