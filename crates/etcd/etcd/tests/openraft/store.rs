//! An in-memory log and state machine, and openraft's types.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{
    EntryResponder, IOFlushed, LogState, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine,
};

openraft::declare_raft_types!(
    pub Types:
        D = String,
        R = (),
        NodeId = u64,
        Node = (),
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

pub type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
pub type LogId = openraft::alias::LogIdOf<Types>;
pub type Vote = openraft::alias::VoteOf<Types>;
pub type Entry = openraft::alias::EntryOf<Types>;
pub type Payload = openraft::EntryPayload<String, u64, ()>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub type Snapshot = openraft::alias::SnapshotOf<Types, ()>;
pub type Raft = openraft::Raft<Types, Machine>;

pub fn id(term: u64, node_id: u64, index: u64) -> LogId {
    LogId { leader_id: LeaderId { term, node_id }, index }
}

pub fn vote(term: u64, node_id: u64, committed: bool) -> Vote {
    Vote { leader_id: LeaderId { term, node_id }, committed }
}

pub fn blank(term: u64, node_id: u64, index: u64) -> Entry {
    Entry { log_id: id(term, node_id, index), payload: Payload::Blank }
}

pub fn text(term: u64, node_id: u64, index: u64, text: &str) -> Entry {
    Entry { log_id: id(term, node_id, index), payload: Payload::Normal(text.to_owned()) }
}

#[derive(Default)]
struct Inner {
    vote: Option<Vote>,
    committed: Option<LogId>,
    entries: BTreeMap<u64, Entry>,
    /// Appends that wait for a flush; `None` if flushes are immediate.
    held: Option<Vec<IOFlushed<Types>>>,
}

/// Clones share the log.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Inner>>);

impl Memory {
    pub fn write(&self, vote: Vote, entries: Vec<Entry>) {
        let mut inner = self.0.lock().unwrap();
        inner.vote = Some(vote);
        inner.entries.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
    }

    pub fn commit(&self, log_id: LogId) {
        self.0.lock().unwrap().committed = Some(log_id);
    }

    pub fn vote(&self) -> Option<Vote> {
        self.0.lock().unwrap().vote
    }

    pub fn first(&self) -> Option<LogId> {
        self.0.lock().unwrap().entries.values().next().map(|entry| entry.log_id)
    }

    pub fn last(&self) -> Option<LogId> {
        self.0.lock().unwrap().entries.values().next_back().map(|entry| entry.log_id)
    }

    pub fn hold_flushes(&self) {
        self.0.lock().unwrap().held = Some(Vec::new());
    }

    pub fn release_flushes(&self) {
        let held = self.0.lock().unwrap().held.take();
        held.into_iter().flatten().for_each(|flushed| flushed.io_completed(Ok(())));
    }
}

impl RaftLogReader<Types> for Memory {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Ok(self.0.lock().unwrap().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.0.lock().unwrap().vote)
    }
}

impl RaftLogStorage<Types> for Memory {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        Ok(LogState { last_purged_log_id: None, last_log_id: self.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.0.lock().unwrap().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.0.lock().unwrap().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.0.lock().unwrap().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut inner = self.0.lock().unwrap();
        inner.entries.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
        match &mut inner.held {
            Some(held) => held.push(flushed),
            None => flushed.io_completed(Ok(())),
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |last| last.index + 1);
        drop(self.0.lock().unwrap().entries.split_off(&from));
        Ok(())
    }

    async fn purge(&mut self, _: LogId) -> Result<(), io::Error> {
        Ok(())
    }
}

#[derive(Default)]
struct Applied {
    last: Option<LogId>,
    membership: StoredMembership,
    strings: Vec<String>,
}

/// Keeps the applied strings in order.
#[derive(Clone, Default)]
pub struct Machine(Arc<Mutex<Applied>>);

impl Machine {
    pub fn strings(&self) -> Vec<String> {
        self.0.lock().unwrap().strings.clone()
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let applied = self.0.lock().unwrap();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            let mut applied = self.0.lock().unwrap();
            applied.last = Some(entry.log_id);
            match entry.payload {
                Payload::Normal(text) => applied.strings.push(text),
                Payload::Membership(membership) => {
                    applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
                Payload::Blank => {}
            }
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        _: &openraft::alias::SnapshotMetaOf<Types>,
        (): (),
    ) -> Result<(), io::Error> {
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(None)
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        Err(io::Error::other("no snapshots here"))
    }
}
