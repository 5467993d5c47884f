//! The public handle of a member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use etcd_api::{ApiError, Key, Member as MemberRecord, Timestamp, Unavailable};
use etcd_store::{Command, Outcome, Store};
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::MemberConfig;
use crate::environment::{Executor, run_blocking};
use crate::key_watch::{self, Watch};
use crate::maintenance::encode;
use crate::membership::peers::{Peers, StopReason};
use crate::peer::network::BoxedStream;
use crate::peer::server::{PeerService, ServeError, serve_peer};
use crate::raft::leader_transfer::{successor, transfer_leadership};
use crate::raft::leadership::Leadership;
use crate::raft::peer_service::MemberPeerService;
use crate::raft::read_barrier::PendingReads;
use crate::raft_types::LeaderId;
use crate::status::{Role, Status};
use crate::storage::applied::Applied;
use crate::storage::disk_space::DiskSpace;
use crate::storage::flush_thread::FlushThread;
use crate::storage::state_machine::Raft;

/// A running member. Clones share it.
#[derive(Clone)]
pub struct Member {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub config: Arc<MemberConfig>,
    pub raft: Raft,
    pub applied: Arc<Applied>,
    pub peers: Arc<Peers>,
    pub peer_service: Arc<MemberPeerService>,
    pub leadership: watch::Receiver<Leadership>,
    pub reads: Arc<PendingReads>,
    pub connection_lost: Arc<Mutex<Option<LeaderId>>>,
    pub append_received: Arc<AtomicU64>,
    pub disk_space: DiskSpace,
    /// Proposals that failed or timed out.
    pub failed: AtomicU64,
    pub started: Instant,
    pub resumed: bool,
    pub tasks: Mutex<JoinSet<()>>,
    pub flush_thread: Mutex<Option<FlushThread>>,
    pub executor: Arc<dyn Executor>,
}

impl Member {
    /// Proposes a command. On success it is durable at a majority and applied locally.
    pub async fn propose(&self, command: &Command) -> Result<Outcome, Unavailable> {
        // With a full disk the command could not be applied locally, even if others committed it.
        if !self.inner.disk_space.is_available() {
            self.inner.failed.fetch_add(1, Ordering::Relaxed);
            return Err(Unavailable::NoSpace);
        }
        let before = self.inner.leadership.borrow().leader;
        let mut receivers = self.inner.applied.proposals.push(vec![encode(command)])?;
        let Some(receiver) = receivers.pop() else { return Err(Unavailable::Stopped) };
        let result = match tokio::time::timeout(self.inner.config.request_timeout(), receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Unavailable::Stopped),
            Err(_) => Err(self.timed_out(before)),
        };
        if result.is_err() {
            self.inner.failed.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Waits until this member has applied everything that was acknowledged by any member before the call.
    pub async fn barrier(&self) -> Result<(), Unavailable> {
        if self.stop_reason().is_some() {
            return Err(Unavailable::Stopped);
        }
        let before = self.inner.leadership.borrow().leader;
        let reached = self.inner.reads.push()?;
        match tokio::time::timeout(self.inner.config.request_timeout(), reached).await {
            Ok(Ok(())) => {
                self.inner.applied.start_serving_reads();
                Ok(())
            }
            Ok(Err(_)) => Err(Unavailable::Stopped),
            Err(_) => Err(self.timed_out(before)),
        }
    }

    fn timed_out(&self, before: Option<LeaderId>) -> Unavailable {
        let now = self.inner.leadership.borrow().leader;
        if now.is_none() || now != before {
            return Unavailable::LeaderFailed;
        }
        match *self.inner.connection_lost.lock() {
            lost if lost == now => Unavailable::ConnectionLost,
            _ => Unavailable::TimedOut,
        }
    }

    /// Whether the state includes everything that readers of this member saw before its restart, so that local reads
    /// need not wait for a leader. Otherwise they must wait for a first [`Member::barrier`].
    pub fn has_resumed(&self) -> bool {
        self.inner.resumed
    }

    /// Reads the local applied state. Blocks the applier meanwhile.
    pub fn read<R>(&self, read: impl FnOnce(&Store) -> R) -> R {
        self.inner.applied.read(read)
    }

    /// The time that expiration is based on: the same on all members and monotonic. It slews towards the leader's
    /// clock.
    pub fn now(&self) -> Timestamp {
        self.inner.peers.time().now()
    }

    /// As [`Member::now`], for computing an expiration. A member that has just started waits until it knows the
    /// cluster's time.
    pub async fn settled_time(&self) -> Result<Timestamp, Unavailable> {
        let before = self.inner.leadership.borrow().leader;
        let settled = self.inner.peers.time().settled();
        let settled = tokio::time::timeout(self.inner.config.request_timeout(), settled).await;
        settled.map_err(|_| self.timed_out(before))
    }

    /// Watches `key`, and the keys below it if `recursive`, from the event index `since`, or from now.
    pub fn watch(&self, key: &Key, recursive: bool, since: Option<u64>) -> Result<Watch, ApiError> {
        key_watch::open(&self.inner.applied, key, recursive, since, false)
    }

    /// As [`Member::watch`], until the first event.
    pub fn watch_once(&self, key: &Key, recursive: bool, since: Option<u64>) -> Result<Watch, ApiError> {
        key_watch::open(&self.inner.applied, key, recursive, since, true)
    }

    /// The number of open watches.
    pub fn watchers(&self) -> u64 {
        self.inner.applied.watchers() as u64
    }

    /// Whether requests need credentials. Cheap enough for every request.
    pub fn auth_enabled(&self) -> bool {
        self.inner.applied.auth_enabled()
    }

    /// The last applied log index and the term. Cheap enough for every response.
    pub fn position(&self) -> (u64, u64) {
        (self.inner.applied.last_index(), self.inner.leadership.borrow().term)
    }

    pub async fn add_member(&self, member: MemberRecord) -> Result<Outcome, Unavailable> {
        self.propose(&Command::AddMember(member)).await
    }

    /// Returns when the member has left raft's configuration, or after the request timeout.
    pub async fn remove_member(&self, id: u64) -> Result<Outcome, Unavailable> {
        let outcome = self.propose(&Command::RemoveMember { id }).await?;
        if outcome.result.is_ok() {
            let mut metrics = self.inner.raft.metrics();
            let removed = async {
                while metrics.borrow_watched().membership_config.get_node(&id).is_some() {
                    if metrics.changed().await.is_err() {
                        return;
                    }
                }
            };
            // The removal is recorded: the leader carries it out even if this times out.
            let limit = self.inner.config.request_timeout();
            if tokio::time::timeout(limit, removed).await.is_err() {
                tracing::warn!(member = format!("{id:x}"), "removed, but raft still counts on it");
            }
        }
        Ok(outcome)
    }

    pub async fn update_member(&self, id: u64, peer_urls: Vec<String>) -> Result<Outcome, Unavailable> {
        self.propose(&Command::UpdateMember { id, peer_urls }).await
    }

    pub fn status(&self) -> Status {
        let inner = &self.inner;
        let leadership = *inner.leadership.borrow();
        let peers = inner.peers.status();
        Status {
            member_id: inner.config.member_id,
            cluster_id: inner.config.cluster_id,
            role: if self.stop_reason().is_some() { Role::Stopped } else { leadership.role },
            leader: leadership.leader.map(|leader| leader.node_id),
            term: leadership.term,
            applied: inner.applied.last_index(),
            leader_since: leadership.since,
            started: inner.started,
            committed: inner.applied.last_index(),
            leader_changes: leadership.changes,
            proposals_pending: inner.applied.proposals.pending(),
            proposals_failed: inner.failed.load(Ordering::Relaxed),
            state_bytes: inner.peer_service.checkpoint.disk_bytes(),
            append_received: inner.append_received.load(Ordering::Relaxed),
            append_sent: peers.values().map(|peer| peer.successes + peer.failures).sum(),
            peers,
        }
    }

    /// The ids of the voters.
    pub fn voters(&self) -> Vec<u64> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.voter_ids().collect()
    }

    /// Serves a connection from another member, after the upgrade, until it ends.
    pub async fn serve_peer(&self, stream: BoxedStream) -> Result<(), ServeError> {
        let service: Arc<dyn PeerService> = Arc::<MemberPeerService>::clone(&self.inner.peer_service);
        let mut stopping = self.inner.peers.stopping();
        tokio::select! {
            served = serve_peer(stream, service) => served,
            _ = stopping.wait_for(Option::is_some) => Ok(()),
        }
    }

    pub fn stop_reason(&self) -> Option<StopReason> {
        self.inner.peers.stopping().borrow().clone()
    }

    /// Waits until the member has stopped or must be stopped; then call [`Member::stop`].
    pub async fn stopped(&self) -> StopReason {
        let mut stopping = self.inner.peers.stopping();
        match stopping.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(StopReason::Requested),
            Err(_) => StopReason::Requested,
        }
    }

    /// Transfers the leadership if this member has it, then stops. Pending requests fail.
    pub async fn stop(&self) {
        if self.stop_reason().is_none() {
            self.transfer_leadership().await;
        }
        self.inner.peers.stop(StopReason::Requested);
        self.inner.applied.proposals.stop();
        self.inner.reads.stop();
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::error!(%error, "raft did not stop in order");
        }
        let mut tasks = std::mem::take(&mut *self.inner.tasks.lock());
        tasks.shutdown().await;
        self.inner.peers.close();
        let flush_thread = self.inner.flush_thread.lock().take();
        let closed = run_blocking(&*self.inner.executor, move || drop(flush_thread)).await;
        if let Err(error) = closed {
            tracing::error!(%error, "the log was not closed in order");
        }
    }

    async fn transfer_leadership(&self) {
        let Inner { raft, peers, leadership, .. } = &*self.inner;
        let own = self.inner.config.member_id;
        let with_space = successor(raft, own, |id| peers.has_disk_space(id));
        if let Some(to) = with_space.or_else(|| successor(raft, own, |_| true)) {
            transfer_leadership(raft, leadership.clone(), own, to).await;
        }
    }

    /// The last log index known to be replicated to each member, while this one leads.
    pub fn replication(&self) -> BTreeMap<u64, u64> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let replication = metrics.replication.iter().flatten();
        replication.filter_map(|(id, log_id)| Some((*id, (*log_id)?.index))).collect()
    }

    /// Writes a checkpoint now, for backups and tests.
    pub async fn checkpoint(&self, limit: Duration) -> Result<(), Unavailable> {
        let applied = self.inner.applied.last_index();
        let mut metrics = self.inner.raft.metrics();
        let written = async {
            loop {
                let reached = metrics.borrow_watched().snapshot.map(|log_id| log_id.index);
                if reached >= Some(applied) {
                    return Ok(());
                }
                let triggered = self.inner.raft.trigger().snapshot().await;
                if triggered.is_err() || metrics.changed().await.is_err() {
                    return Err(Unavailable::Stopped);
                }
            }
        };
        tokio::time::timeout(limit, written).await.unwrap_or(Err(Unavailable::TimedOut))
    }
}
