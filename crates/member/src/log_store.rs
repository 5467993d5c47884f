//! Raft's log and vote on `raft-log`. One thread flushes for all that wait: whatever is appended
//! while a flush runs shares the next one. It must never report as flushed what is not, and never
//! let a vote be used before it is on disk.
//!
//! Long because the log and the thread that flushes it for all share one queue and one word on room.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use raft_log::disk::Disk;
use raft_log::{AppendError, FlushError, Flusher, Log, MaintainError, Purged, StateKey, Ticket};
use tokio::sync::{Notify, oneshot};

use crate::codec::{self, Reader};
use crate::disk_times::DiskTimes;
use crate::hands::{Background, Hands, Join};
use crate::limits::{FULL_DISK_PAUSE, LOG_CACHE_BYTES, LOG_READ_BYTES};
use crate::raft_types::{Entry, LogId, Types, Vote};

pub const VOTE: StateKey = StateKey::new(0);
const COMMITTED: StateKey = StateKey::new(1);

/// Both writer and reader; clones share the log.
pub struct LogStore<D: Disk> {
    log: Arc<Log<D>>,
    flushes: Arc<Flushes>,
    room: Room,
    vote: Arc<Mutex<Option<Vote>>>,
    committed: Arc<Mutex<Option<LogId>>>,
}

impl<D: Disk> Clone for LogStore<D> {
    fn clone(&self) -> Self {
        Self {
            log: Arc::clone(&self.log),
            flushes: Arc::clone(&self.flushes),
            room: self.room.clone(),
            vote: Arc::clone(&self.vote),
            committed: Arc::clone(&self.committed),
        }
    }
}

/// Whether the log's disk has room. It is asked for before there is none: the next segment is made
/// while the current one still takes what raft itself has to write.
#[derive(Debug, Clone, Default)]
pub struct Room {
    /// How many wait for it.
    waiting: Arc<AtomicUsize>,
}

impl Room {
    pub fn is_there(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Until the answer is dropped, there is none.
    fn wait(&self, error: &dyn std::fmt::Display) -> NoRoom {
        tracing::error!(%error, "the disk is full: writes are refused until there is room");
        self.waiting.fetch_add(1, Ordering::Relaxed);
        NoRoom(self.clone())
    }
}

struct NoRoom(Room);

impl Drop for NoRoom {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        tracing::info!("the log does not wait for room any more");
    }
}

enum Waiter {
    Append(IOFlushed<Types>),
    State(oneshot::Sender<io::Result<()>>),
}

impl Waiter {
    fn done(self, result: io::Result<()>) {
        match self {
            Waiter::Append(flushed) => flushed.io_completed(result),
            // Who asked may be gone with its task when the member stops.
            Waiter::State(answer) => {
                answer.send(result).ok();
            }
        }
    }
}

#[derive(Default)]
struct Flushes {
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<(Ticket, Waiter)>,
    stop: bool,
}

impl Flushes {
    fn wait_for(&self, ticket: Ticket, waiter: Waiter) {
        self.queue.lock().waiting.push((ticket, waiter));
        self.wake.notify_one();
    }

    fn stop(&self) {
        self.queue.lock().stop = true;
        self.wake.notify_one();
    }

    /// What waits now; nothing when the log is to be closed.
    async fn next(&self) -> Option<Vec<(Ticket, Waiter)>> {
        loop {
            {
                let mut queue = self.queue.lock();
                if !queue.waiting.is_empty() {
                    return Some(std::mem::take(&mut queue.waiting));
                }
                if queue.stop {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }
}

/// The flushing thread; when it is dropped, what was appended is flushed and the thread ends.
pub struct FlushThread {
    flushes: Arc<Flushes>,
    thread: Option<Join>,
}

impl Drop for FlushThread {
    fn drop(&mut self) {
        self.flushes.stop();
        if let Some(join) = self.thread.take() {
            join();
        }
    }
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

impl<D: Disk> LogStore<D> {
    pub fn open<H: Hands<Disk = D>>(
        hands: &Arc<H>,
        folder: &Path,
        segment_bytes: u64,
        times: Arc<dyn DiskTimes>,
    ) -> Result<(Self, FlushThread), OpenLogError> {
        let disk = hands.log_disk(folder)?;
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
        let flushes = Arc::new(Flushes::default());
        let room = Room::default();
        let flushing = Flushing {
            log: Arc::clone(&log),
            flushes: Arc::clone(&flushes),
            room: room.clone(),
            times,
            hands: Arc::<H>::clone(hands),
            maintaining: Arc::default(),
            maintenance: Mutex::default(),
        };
        let thread = hands.keep("log-flush", Box::pin(flushing.run(flusher)))?;
        let store = Self {
            log,
            flushes: Arc::clone(&flushes),
            room,
            vote: Arc::new(Mutex::new(vote)),
            committed: Arc::new(Mutex::new(committed)),
        };
        Ok((store, FlushThread { flushes, thread: Some(thread) }))
    }

    pub fn last_log_id(&self) -> io::Result<Option<LogId>> {
        let bounds = self.log.bounds();
        match bounds.last {
            Some(last) => {
                let entries = self.read(last, last + 1, 1)?;
                Ok(entries.last().map(|entry| entry.log_id))
            }
            None => Ok(self.purged(&bounds)?),
        }
    }

    /// What is known to be committed besides what stands in the log.
    pub fn know_committed(&self, log_id: Option<LogId>) {
        let mut committed = self.committed.lock();
        *committed = (*committed).max(log_id);
    }

    pub fn room(&self) -> Room {
        self.room.clone()
    }

    pub fn vote(&self) -> Option<Vote> {
        *self.vote.lock()
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

    async fn append_patiently(&self, records: &[raft_log::Entry]) -> io::Result<Ticket> {
        self.patiently(|log| log.append(records.iter().cloned())).await
    }

    /// Where the disk is full or too much waits, tries again until there is room: an error would
    /// end the member.
    async fn patiently(&self, write: impl Fn(&Log<D>) -> Result<Ticket, AppendError>) -> io::Result<Ticket> {
        let mut no_room = None;
        loop {
            match write(&self.log) {
                Ok(ticket) => return Ok(ticket),
                Err(AppendError::Backlog { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error @ AppendError::Full { .. }) => {
                    no_room.get_or_insert_with(|| self.room.wait(&error));
                    tokio::time::sleep(FULL_DISK_PAUSE).await;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// Sets a state and returns when it is on disk.
    async fn set_state(&self, key: StateKey, value: Bytes) -> io::Result<()> {
        let ticket = self.patiently(|log| log.set_state(key, value.clone())).await?;
        let (answer, done) = oneshot::channel();
        self.flushes.wait_for(ticket, Waiter::State(answer));
        done.await.map_err(|_| io::Error::other("the log is closed"))?
    }

    /// Writes entries and a vote of no election: the way out of a lost majority. Flushed on return.
    pub async fn overwrite(&self, vote: Vote, entry: &Entry) -> io::Result<()> {
        self.append_patiently(&[record(entry)]).await?;
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

/// What the flushing thread works with.
struct Flushing<D: Disk> {
    log: Arc<Log<D>>,
    flushes: Arc<Flushes>,
    room: Room,
    times: Arc<dyn DiskTimes>,
    hands: Arc<dyn Background>,
    /// The next segment is being made.
    maintaining: Arc<AtomicBool>,
    maintenance: Mutex<Option<Join>>,
}

impl<D: Disk> Flushing<D> {
    async fn run(self, mut flusher: Flusher<D>) {
        let mut waiting = Vec::new();
        let mut no_room = None;
        while let Some(more) = self.flushes.next().await {
            waiting.extend(more);
            let (last, began) = (self.log.bounds().last, Instant::now());
            match flush_once(&mut flusher, &self.flushes, &mut waiting) {
                Flush::Done { maintain: wanted } => {
                    self.times.log_flushed(began.elapsed(), last);
                    no_room = None;
                    if wanted {
                        self.maintain();
                    }
                }
                Flush::Full(error) => {
                    no_room.get_or_insert_with(|| self.room.wait(&error));
                    self.hands.pause(FULL_DISK_PAUSE).await;
                }
            }
        }
        if let Err(error) = flusher.flush() {
            tracing::error!(%error, "the log's end could not be flushed");
        }
        // It holds the log too: who starts again in the same folder must not find it locked.
        let maintenance = self.maintenance.lock().take();
        if let Some(join) = maintenance {
            join();
        }
    }

    /// Makes the next segment, away from the thread that others wait for; without room for it, as
    /// soon as there is some.
    fn maintain(&self) {
        if self.maintaining.swap(true, Ordering::AcqRel) {
            return;
        }
        let (log, running) = (Arc::clone(&self.log), Arc::clone(&self.maintaining));
        let (flushes, room) = (Arc::clone(&self.flushes), self.room.clone());
        let hands = Arc::clone(&self.hands);
        let maintaining = async move {
            let mut no_room = None;
            loop {
                match log.maintain() {
                    Err(error @ MaintainError::Full { .. }) if !flushes.queue.lock().stop => {
                        no_room.get_or_insert_with(|| room.wait(&error));
                        hands.pause(FULL_DISK_PAUSE).await;
                    }
                    Err(error) => {
                        tracing::error!(%error, "the log's next segment is not ready");
                        break;
                    }
                    Ok(()) => break,
                }
            }
            drop(no_room);
            running.store(false, Ordering::Release);
        };
        match self.hands.keep("log-maintain", Box::pin(maintaining)) {
            Ok(join) => *self.maintenance.lock() = Some(join),
            Err(error) => tracing::error!(%error, "no thread for the log's next segment"),
        }
    }
}

enum Flush {
    Done {
        maintain: bool,
    },
    /// Who waits goes on waiting.
    Full(FlushError),
}

/// One flush for all that wait.
fn flush_once<D: Disk>(
    flusher: &mut Flusher<D>,
    flushes: &Flushes,
    waiting: &mut Vec<(Ticket, Waiter)>,
) -> Flush {
    match flusher.flush() {
        Ok(flushed) => {
            let mut left = Vec::new();
            for (ticket, waiter) in waiting.drain(..) {
                if ticket <= flushed.through {
                    waiter.done(Ok(()));
                } else {
                    left.push((ticket, waiter));
                }
            }
            flushes.queue.lock().waiting.extend(left);
            Flush::Done { maintain: flushed.maintain }
        }
        Err(error @ FlushError::Full { .. }) => {
            flushes.queue.lock().waiting.append(waiting);
            Flush::Full(error)
        }
        Err(FlushError::Failed(error)) => {
            for (_, waiter) in waiting.drain(..) {
                waiter.done(Err(io::Error::other(error.clone())));
            }
            Flush::Done { maintain: false }
        }
    }
}

impl<D: Disk> RaftLogReader<Types> for LogStore<D> {
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

impl<D: Disk> RaftLogStorage<Types> for LogStore<D> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let last_purged_log_id = self.purged(&self.log.bounds())?;
        Ok(LogState { last_purged_log_id, last_log_id: self.last_log_id()? })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.write_vote(vote).await
    }

    /// Kept beside the log without a flush of its own: after a crash it is a little old at worst,
    /// and the cluster tells the rest.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else { return Ok(()) };
        let mut out = BytesMut::with_capacity(24);
        codec::put_log_id(&mut out, &committed);
        match self.log.set_state(COMMITTED, out.freeze()) {
            // It may be old, and costs no wait.
            Ok(_) | Err(AppendError::Full { .. } | AppendError::Backlog { .. }) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
        *self.committed.lock() = Some(committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let last = self.last_log_id()?;
        Ok((*self.committed.lock()).min(last))
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries.into_iter().map(|entry| record(&entry)).collect::<Vec<_>>();
        let ticket = self.append_patiently(&records).await?;
        self.flushes.wait_for(ticket, Waiter::Append(flushed));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = last_log_id.map_or(0, |log_id| log_id.index + 1);
        // Later appends are flushed behind it, in order: it needs no flush of its own.
        self.patiently(|log| log.truncate_from(from)).await?;
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let mut note = BytesMut::with_capacity(24);
        codec::put_log_id(&mut note, &log_id);
        let purged = Purged { index: log_id.index, term: log_id.leader_id.term, note: note.freeze() };
        let purge = |log: &Log<D>| match log.purge_to(purged.clone()) {
            // Purged further already.
            Err(AppendError::Purged { .. }) => Ok(log.flushed()),
            done => done,
        };
        self.patiently(purge).await.map(drop)
    }
}
