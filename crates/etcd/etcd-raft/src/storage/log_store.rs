//! Raft's log and vote on `raft-log`. A vote is durable before it is used.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use raft_log::{AppendError, Log, Purged, StateKey, Ticket};
use tokio::sync::oneshot;

use crate::codec::{self, Reader};
use crate::disk_metrics::DiskMetrics;
use crate::environment::Environment;
use crate::limits::{LOG_CACHE_BYTES, LOG_READ_BYTES};
use crate::raft_types::{Entry, LogId, Types, Vote};
use crate::storage::disk_space::DiskSpace;
use crate::storage::flush_thread::{self, FlushQueue, FlushThread, Waiter};

pub const VOTE: StateKey = StateKey::new(0);
const COMMITTED: StateKey = StateKey::new(1);

/// Reader and writer; clones share the log.
#[derive(Clone)]
pub struct LogStore {
    log: Arc<Log>,
    flushes: Arc<FlushQueue>,
    disk_space: DiskSpace,
    vote: Arc<Mutex<Option<Vote>>>,
    committed: Arc<Mutex<Option<LogId>>>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    #[error("opening the log")]
    Log(#[from] raft_log::OpenError),
    #[error("opening the log's folder")]
    Io(#[from] io::Error),
    #[error("what the log holds is no record of this program")]
    Record(#[from] codec::DecodeError),
}

impl LogStore {
    pub fn open(
        environment: Arc<dyn Environment>,
        folder: &Path,
        segment_bytes: u64,
        metrics: Arc<dyn DiskMetrics>,
    ) -> Result<(Self, FlushThread), OpenLogError> {
        let disk = environment.log_disk(folder)?;
        let options = raft_log::Options {
            segment_bytes,
            cache_bytes: LOG_CACHE_BYTES,
            new_id: raft_log::LogId::random()?,
        };
        let (log, flusher, recovered) = Log::open(disk, options)?;
        let state = |key| recovered.states.get(&key).cloned();
        let vote = state(VOTE).map(|bytes| Reader::new(bytes).vote()).transpose()?;
        let committed = state(COMMITTED).map(|bytes| Reader::new(bytes).log_id()).transpose()?;
        let log = Arc::new(log);
        let disk_space = DiskSpace::default();
        let (flushes, thread) =
            flush_thread::start(environment, Arc::clone(&log), flusher, disk_space.clone(), metrics)?;
        let store = Self {
            log,
            flushes,
            disk_space,
            vote: Arc::new(Mutex::new(vote)),
            committed: Arc::new(Mutex::new(None)),
        };
        store.restore_committed(committed)?;
        Ok((store, thread))
    }

    pub fn last_log_id(&self) -> io::Result<Option<LogId>> {
        let bounds = self.log.bounds();
        match bounds.last {
            Some(last) => {
                let entries = self.read(last, last + 1, 1)?;
                Ok(entries.last().map(|entry| entry.log_id))
            }
            None => self.purged(&bounds),
        }
    }

    /// Restores the commit index, if the entry is in this log. A member may have applied entries that a majority has
    /// but whose local write was still in flight. Killed then, its log is older, and the end may stem from a failed
    /// leader and be committed nowhere.
    pub fn restore_committed(&self, log_id: Option<LogId>) -> io::Result<()> {
        let Some(log_id) = log_id else { return Ok(()) };
        if self.log_id_at(log_id.index)? == Some(log_id) {
            let mut committed = self.committed.lock();
            *committed = (*committed).max(Some(log_id));
        }
        Ok(())
    }

    /// Truncates entries that conflict with the checkpoint, which may be ahead of the log for the same reason.
    /// openraft would report corruption.
    pub async fn reconcile_with_checkpoint(&self, applied: Option<LogId>) -> io::Result<()> {
        let Some(applied) = applied else { return Ok(()) };
        if self.log_id_at(applied.index)?.is_some_and(|found| found != applied) {
            tracing::warn!(index = applied.index, "the log's end is of a leader that failed: it is dropped");
            self.retry_on_backlog(|log| log.truncate_from(applied.index)).await?;
        }
        Ok(())
    }

    /// The log id at `index`; `None` also for a purged entry.
    fn log_id_at(&self, index: u64) -> io::Result<Option<LogId>> {
        if self.log.bounds().purged.is_some_and(|purged| index <= purged.index) {
            return Ok(None);
        }
        let entries = self.read(index, index.saturating_add(1), 1)?;
        Ok(entries.first().map(|entry| entry.log_id))
    }

    pub fn disk_space(&self) -> DiskSpace {
        self.disk_space.clone()
    }

    pub fn vote(&self) -> Option<Vote> {
        *self.vote.lock()
    }

    pub fn last_purged(&self) -> io::Result<Option<LogId>> {
        self.purged(&self.log.bounds())
    }

    fn purged(&self, bounds: &raft_log::Bounds) -> io::Result<Option<LogId>> {
        let note = bounds.purged.as_ref().map(|purged| purged.note.clone());
        note.map(|note| Reader::new(note).log_id()).transpose().map_err(io::Error::other)
    }

    fn read(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let records = self.log.read(start..end, max_bytes).map_err(io::Error::other)?;
        let decode = |record: raft_log::Entry| Reader::new(record.payload).entry(record.index);
        records.into_iter().map(decode).collect::<Result<_, _>>().map_err(io::Error::other)
    }

    async fn append_records(&self, records: &[raft_log::Entry]) -> io::Result<Ticket> {
        self.retry_on_backlog(|log| log.append(records.iter().cloned())).await
    }

    /// Retries while too much is queued for the disk: an error would stop the member.
    async fn retry_on_backlog(
        &self,
        write: impl Fn(&Log) -> Result<Ticket, AppendError>,
    ) -> io::Result<Ticket> {
        loop {
            match write(&self.log) {
                Ok(ticket) => return Ok(ticket),
                Err(AppendError::Backlog { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// Sets a state and waits until it is durable.
    async fn set_state(&self, key: StateKey, value: Bytes) -> io::Result<()> {
        let ticket = self.retry_on_backlog(|log| log.set_state(key, value.clone())).await?;
        let (sender, done) = oneshot::channel();
        self.flushes.push(ticket, Waiter::State(sender));
        done.await.map_err(|_| io::Error::other("the log is closed"))?
    }

    /// Appends an entry and sets a vote without an election, to recover from a lost majority. Durable on return.
    pub async fn force_append(&self, vote: Vote, entry: &Entry) -> io::Result<()> {
        self.append_records(&[record(entry)]).await?;
        self.write_vote(&vote).await
    }

    async fn write_vote(&self, vote: &Vote) -> io::Result<()> {
        let mut out = BytesMut::with_capacity(32);
        codec::put_vote(&mut out, vote);
        self.set_state(VOTE, out.freeze()).await?;
        *self.vote.lock() = Some(*vote);
        Ok(())
    }
}

fn record(entry: &Entry) -> raft_log::Entry {
    raft_log::Entry {
        index: entry.log_id.index,
        term: entry.log_id.leader_id.term,
        payload: codec::entry_record(entry),
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let mut entries = Vec::new();
        let mut next = start;
        while next < end {
            let more = self.read(next, end, LOG_READ_BYTES)?;
            let Some(last) = more.last() else { break };
            next = last.log_id.index + 1;
            entries.extend(more);
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.vote())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, LOG_READ_BYTES)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        Ok(LogState { last_purged_log_id: self.last_purged()?, last_log_id: self.last_log_id()? })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.write_vote(vote).await
    }

    /// Written without a flush: after a crash it may be slightly old, and the leader supplies the current one.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else { return Ok(()) };
        let mut out = BytesMut::with_capacity(24);
        codec::put_log_id(&mut out, &committed);
        match self.log.set_state(COMMITTED, out.freeze()) {
            // An old value is harmless.
            Ok(_) | Err(AppendError::Backlog { .. }) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
        *self.committed.lock() = Some(committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(*self.committed.lock())
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries.into_iter().map(|entry| record(&entry)).collect::<Vec<_>>();
        let ticket = self.append_records(&records).await?;
        self.flushes.push(ticket, Waiter::Append(flushed));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = last_log_id.map_or(0, |log_id| log_id.index + 1);
        // Later appends are flushed after it, so it needs no flush.
        self.retry_on_backlog(|log| log.truncate_from(from)).await?;
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let mut note = BytesMut::with_capacity(24);
        codec::put_log_id(&mut note, &log_id);
        let purged = Purged { index: log_id.index, term: log_id.leader_id.term, note: note.freeze() };
        let purge = |log: &Log| match log.purge_to(purged.clone()) {
            // Already purged further.
            Err(AppendError::Purged { .. }) => Ok(log.flushed()),
            done => done,
        };
        self.retry_on_backlog(purge).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::SystemEnvironment;
    use crate::raft_types::{LeaderId, Payload};

    const SEGMENT: u64 = 1 << 20;

    fn log_id(term: u64, index: u64) -> LogId {
        LogId { leader_id: LeaderId { term, node_id: term }, index }
    }

    async fn with_entries(folder: &Path, log_ids: impl IntoIterator<Item = LogId>) -> LogStore {
        let (store, _thread) =
            LogStore::open(Arc::new(SystemEnvironment), folder, SEGMENT, Arc::new(())).unwrap();
        for log_id in log_ids {
            let entry = Entry { log_id, payload: Payload::Blank };
            store.append_records(&[record(&entry)]).await.unwrap();
        }
        store
    }

    /// A member is killed while the write that replaces its entries is in flight. It knows a later committed log id,
    /// and its own entries at these indexes are committed nowhere.
    #[tokio::test]
    async fn entries_of_a_failed_leader_are_not_committed() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = with_entries(folder.path(), (0..4).map(|index| log_id(4, index))).await;
        for unknown in [log_id(5, 3), log_id(5, 9), log_id(4, 9)] {
            store.restore_committed(Some(unknown)).unwrap();
            assert_eq!(store.read_committed().await.unwrap(), None, "{unknown}");
        }
        for (committed, known) in [(log_id(4, 2), 2), (log_id(4, 1), 2), (log_id(6, 3), 2), (log_id(4, 3), 3)]
        {
            store.restore_committed(Some(committed)).unwrap();
            assert_eq!(store.read_committed().await.unwrap(), Some(log_id(4, known)), "{committed}");
        }
    }

    #[tokio::test]
    async fn entries_that_conflict_with_the_checkpoint_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = with_entries(folder.path(), (0..4).map(|index| log_id(4, index))).await;
        for (applied, last) in
            [(None, 3), (Some(log_id(4, 2)), 3), (Some(log_id(5, 9)), 3), (Some(log_id(5, 2)), 1)]
        {
            store.reconcile_with_checkpoint(applied).await.unwrap();
            assert_eq!(store.last_log_id().unwrap(), Some(log_id(4, last)), "{applied:?}");
        }
        store.purge(log_id(5, 2)).await.unwrap();
        store.reconcile_with_checkpoint(Some(log_id(5, 2))).await.unwrap();
        assert_eq!(store.last_log_id().unwrap(), Some(log_id(5, 2)));
    }

    #[tokio::test]
    async fn purged_entries_are_not_restored_as_committed() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = with_entries(folder.path(), (0..4).map(|index| log_id(4, index))).await;
        store.purge(log_id(4, 2)).await.unwrap();
        store.restore_committed(Some(log_id(4, 1))).unwrap();
        assert_eq!(store.read_committed().await.unwrap(), None);
        store.restore_committed(Some(log_id(4, 3))).unwrap();
        assert_eq!(store.read_committed().await.unwrap(), Some(log_id(4, 3)));
    }
}
