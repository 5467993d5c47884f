//! Serves other members: raft requests, forwarded proposals, read indexes and snapshots. A batch is only appended
//! under the leadership it was made for, and only once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use openraft::ReadPolicy;
use openraft::storage::Snapshot;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::environment::{Executor, run_blocking};
use crate::membership::peers::Peers;
use crate::peer::handshake::{Hello, Rejection, Welcome};
use crate::peer::message::{self, Pong};
use crate::peer::server::{PeerService, PeerSession, ResponseFuture};
use crate::raft::append_request;
use crate::raft::leadership::Leadership;
use crate::raft::pending_batches::{BatchStatus, PendingBatches};
use crate::raft::proposer::{AppendOutcome, append};
use crate::raft_types::{SnapshotMeta, Vote};
use crate::storage::applied::Applied;
use crate::storage::disk_space::DiskSpace;
use crate::storage::snapshot_transfer::SnapshotReceiver;
use crate::storage::state_machine::{Raft, SnapshotData, StateMachine};

/// The state shared by all peer sessions.
pub struct MemberPeerService {
    pub raft: Raft,
    pub peers: Arc<Peers>,
    pub applied: Arc<Applied>,
    pub pending_batches: Arc<Mutex<PendingBatches>>,
    pub leadership: watch::Receiver<Leadership>,
    pub checkpoint: StateMachine,
    pub append_received: Arc<AtomicU64>,
    pub disk_space: DiskSpace,
    pub executor: Arc<dyn Executor>,
}

impl PeerService for MemberPeerService {
    fn cluster_id(&self) -> u64 {
        self.peers.identity().cluster_id
    }

    fn admit(&self, hello: &Hello) -> Result<Welcome, Rejection> {
        self.peers.admit(hello)
    }

    fn open_session(&self, hello: &Hello) -> Box<dyn PeerSession> {
        Box::new(MemberPeerSession {
            from: hello.from,
            disk: hello.disk,
            disk_checked: false,
            peers: Arc::clone(&self.peers),
            disk_space: self.disk_space.clone(),
            applied: Arc::clone(&self.applied),
            raft: self.raft.clone(),
            pending_batches: Arc::clone(&self.pending_batches),
            leadership: self.leadership.clone(),
            state_machine: self.checkpoint.clone(),
            append_received: Arc::clone(&self.append_received),
            executor: Arc::clone(&self.executor),
            incoming_snapshot: None,
        })
    }
}

struct MemberPeerSession {
    from: u64,
    disk: u128,
    /// Whether the peer's disk has been checked.
    disk_checked: bool,
    peers: Arc<Peers>,
    disk_space: DiskSpace,
    applied: Arc<Applied>,
    raft: Raft,
    pending_batches: Arc<Mutex<PendingBatches>>,
    leadership: watch::Receiver<Leadership>,
    state_machine: StateMachine,
    append_received: Arc<AtomicU64>,
    executor: Arc<dyn Executor>,
    incoming_snapshot: Option<IncomingSnapshot>,
}

/// A snapshot that is being received.
struct IncomingSnapshot {
    vote: Vote,
    meta: SnapshotMeta,
    /// `None` while a chunk is processed. Chunks arrive one after the other.
    receiver: Arc<Mutex<Option<SnapshotReceiver>>>,
    executor: Arc<dyn Executor>,
}

impl IncomingSnapshot {
    fn new(vote: Vote, meta: SnapshotMeta, executor: Arc<dyn Executor>) -> Self {
        Self { vote, meta, receiver: Arc::default(), executor }
    }

    /// Runs `work` on a blocking thread; its result is the receiver for the next chunk.
    fn write<F>(&self, work: F) -> ResponseFuture
    where
        F: FnOnce(Option<SnapshotReceiver>) -> Result<SnapshotReceiver, String> + Send + 'static,
    {
        let (slot, executor) = (Arc::clone(&self.receiver), Arc::clone(&self.executor));
        Box::pin(async move {
            let before = slot.lock().take();
            let written = run_blocking(&*executor, move || work(before)).await.map_err(to_text)?;
            *slot.lock() = Some(written?);
            Ok(Bytes::new())
        })
    }

    async fn finish(self, raft: Raft) -> Result<Bytes, String> {
        let Some(receiver) = self.receiver.lock().take() else {
            return Err("the end of a snapshot that could not be written".to_owned());
        };
        let meta = self.meta.clone();
        let complete = move || receiver.complete(&meta).map(|()| receiver);
        let receiver = run_blocking(&*self.executor, complete).await.map_err(to_text)?.map_err(to_text)?;
        let snapshot = Snapshot { meta: self.meta, snapshot: SnapshotData::Received(receiver) };
        let response = raft.install_full_snapshot(self.vote, snapshot).await;
        response.map(|response| message::snapshot_response(&response)).map_err(to_text)
    }
}

fn failed(reason: &'static str) -> ResponseFuture {
    Box::pin(async move { Err(reason.to_owned()) })
}

fn done() -> ResponseFuture {
    Box::pin(async { Ok(Bytes::new()) })
}

impl PeerSession for MemberPeerSession {
    /// A removed member learns of its removal when it reconnects. A removed leader may continue until it has
    /// transferred its leadership. A member with the wrong disk is disconnected immediately.
    fn should_close(&mut self) -> bool {
        if !self.disk_checked && self.peers.is_known_member(self.from) {
            if !self.peers.check_disk(self.from, self.disk).unwrap_or(false) {
                return true;
            }
            self.disk_checked = true;
        }
        if self.applied.has_other_disk(self.from, self.disk) {
            return true;
        }
        let leader = self.leadership.borrow().leader;
        let leads = leader.is_some_and(|leader| leader.node_id == self.from);
        !leads && self.applied.is_removed(self.from)
    }

    fn handle(&mut self, kind: u8, contents: Bytes) -> ResponseFuture {
        match kind {
            message::PING => {
                let (has_disk_space, time) = (self.disk_space.is_available(), self.peers.time().report());
                let response = message::pong(&Pong { has_disk_space, time });
                Box::pin(async move { Ok(response) })
            }
            message::DISK_REJECTED => match message::read_disk_rejected(contents) {
                // Anyone may reach a peer port without TLS: a single frame must not stop this member.
                Ok(_) if !self.peers.may_reject_disk(self.from) => failed("a refusal by an unknown member"),
                Ok(disk) => {
                    self.peers.disk_rejected_by(self.from, disk);
                    done()
                }
                Err(_) => failed("a malformed refusal"),
            },
            message::APPEND | message::VOTE | message::PRE_VOTE | message::TRANSFER => {
                self.raft_request(kind, contents)
            }
            message::PROPOSE => self.propose(contents),
            message::READ_INDEX => self.read_index(),
            message::SNAPSHOT_BEGIN => match message::read_snapshot_begin(contents) {
                Ok((vote, meta)) => {
                    let current = self.state_machine.checkpoint();
                    let incoming_snapshot = IncomingSnapshot::new(vote, meta, Arc::clone(&self.executor));
                    let began =
                        incoming_snapshot.write(move |_| SnapshotReceiver::begin(&current).map_err(to_text));
                    self.incoming_snapshot = Some(incoming_snapshot);
                    began
                }
                Err(_) => failed("a malformed snapshot"),
            },
            message::SNAPSHOT_CHUNK => match &self.incoming_snapshot {
                Some(incoming_snapshot) => incoming_snapshot.write(move |receiver| {
                    let mut receiver = receiver.ok_or("the snapshot cannot be written")?;
                    receiver.add_chunk(contents).map_err(to_text)?;
                    Ok(receiver)
                }),
                None => failed("a piece of no snapshot"),
            },
            message::SNAPSHOT_END => match self.incoming_snapshot.take() {
                Some(incoming_snapshot) => Box::pin(incoming_snapshot.finish(self.raft.clone())),
                None => failed("the end of no snapshot"),
            },
            _ => failed("a request of a later version"),
        }
    }
}

impl MemberPeerSession {
    fn raft_request(&mut self, kind: u8, contents: Bytes) -> ResponseFuture {
        let raft = self.raft.clone();
        if kind == message::APPEND {
            self.append_received.fetch_add(1, Ordering::Relaxed);
        }
        Box::pin(async move {
            let malformed = |error: crate::codec::DecodeError| error.to_string();
            match kind {
                message::APPEND => {
                    let request = message::read_append(contents).map_err(malformed)?;
                    let response = append_request::handle(&raft, request).await?;
                    Ok(message::append_response(&response))
                }
                message::VOTE => {
                    let request = message::read_vote(contents).map_err(malformed)?;
                    Ok(message::vote_response(&raft.vote(request).await.map_err(to_text)?))
                }
                message::PRE_VOTE => {
                    let request = message::read_vote(contents).map_err(malformed)?;
                    Ok(message::vote_response(&raft.pre_vote(request).await.map_err(to_text)?))
                }
                _ => {
                    let request = message::read_transfer(contents).map_err(malformed)?;
                    let response = raft.handle_transfer_leader(request).await.map_err(to_text)?;
                    Ok(message::transfer_response(&response))
                }
            }
        })
    }

    fn propose(&mut self, contents: Bytes) -> ResponseFuture {
        let Ok(request) = message::read_propose(contents) else {
            return failed("a malformed proposal");
        };
        if self.leadership.borrow().leader != Some(request.leader) {
            return failed("not the leader that the batch was made for");
        }
        // Such an entry would stop every member, again after each restart.
        if let Err(error) = request.batch.decode() {
            tracing::error!(%error, member = format_args!("{:x}", request.batch.id().origin),
                "a member's batch of commands cannot be decoded, and is refused");
            return failed("a batch that cannot be decoded");
        }
        let status = self.pending_batches.lock().register(&request);
        match status {
            BatchStatus::New => {}
            BatchStatus::Pending => return failed("the batch is on its way already"),
            BatchStatus::Settled => return done(),
        }
        let (raft, pending_batches) = (self.raft.clone(), Arc::clone(&self.pending_batches));
        let appending = async move {
            let (leader, id) = (request.leader, request.batch.id());
            let outcome = append(&raft, request.batch, leader).await?;
            pending_batches.lock().settle(leader, id, outcome);
            Ok::<_, String>(outcome)
        };
        // A separate task: a batch abandoned with its connection would stay pending forever and block its origin.
        let appending = tokio::spawn(appending);
        Box::pin(async move {
            match appending.await.map_err(to_text)?? {
                AppendOutcome::Appended => Ok(Bytes::new()),
                AppendOutcome::Rejected => Err("the leader cannot take the batch now".to_owned()),
            }
        })
    }

    fn read_index(&self) -> ResponseFuture {
        let raft = self.raft.clone();
        Box::pin(async move {
            // Not the leader, or not confirmed: the caller retries.
            let linearizer = raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok();
            let log_id = linearizer.map(|linearizer| *linearizer.read_log_id().log_id());
            Ok(message::read_index_response(log_id.as_ref()))
        })
    }
}

fn to_text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use etcd_api::Unavailable;
    use etcd_store::Command;

    use super::*;
    use crate::maintenance::encode;
    use crate::peer::message::Propose;
    use crate::raft_types::{Batch, BatchId};
    use crate::single_member::{self, OWN};

    /// The sender retries over the next connection and must learn the outcome.
    #[tokio::test]
    async fn a_batch_is_settled_though_the_session_ends() {
        let folder = tempfile::tempdir().unwrap();
        let config = single_member::config(folder.path());
        let member = single_member::start(&config).await;
        let versions = (1, 1);
        let hello = Hello { versions, cluster_id: config.cluster_id, from: 7, to: OWN, disk: 0 };
        let leader = member.inner.leadership.borrow().leader.unwrap();
        let commands = [encode(&Command::SetClusterVersion { version: "2.3.0".to_owned() })];
        let id = BatchId { origin: 7, incarnation: 1, sequence: 0 };
        let batch = Batch::new(id, commands.iter());
        let request = message::propose(&Propose { leader, oldest: 0, batch });
        let propose =
            || member.inner.peer_service.open_session(&hello).handle(message::PROPOSE, request.clone());
        drop(propose());
        let settled = async {
            while propose().await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), settled).await.unwrap();
        member.stop().await;
    }

    /// Cluster and member ids are no secret: client responses contain them.
    #[tokio::test]
    async fn a_stranger_leaves_nothing_behind_and_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let config = single_member::config(folder.path());
        let member = single_member::start(&config).await;
        let disk = member.inner.peers.identity().disk;
        for from in 100..200 {
            let hello = Hello { versions: (1, 1), cluster_id: config.cluster_id, from, to: OWN, disk: 0 };
            // Accepted: it may be a leader that this member does not know yet.
            member.inner.peer_service.admit(&hello).unwrap();
            let mut session = member.inner.peer_service.open_session(&hello);
            assert!(!session.should_close());
            let refusal = session.handle(message::DISK_REJECTED, message::disk_rejected(disk)).await;
            assert!(refusal.is_err());
        }
        assert!(member.inner.peers.stopping().borrow().is_none());
        assert!(!config.data_dir.join("peer-disks").exists());
        member.stop().await;
    }

    /// In the log it would stop every member permanently.
    #[tokio::test]
    async fn a_batch_that_cannot_be_decoded_does_not_enter_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let config = single_member::config(folder.path());
        let member = single_member::start(&config).await;
        let hello = Hello { versions: (1, 1), cluster_id: config.cluster_id, from: 7, to: OWN, disk: 0 };
        let leader = member.inner.leadership.borrow().leader.unwrap();
        let good = Command::SetClusterVersion { version: "2.3.0".to_owned() };
        let mut damaged = encode(&good).to_vec();
        damaged[1] ^= 0x80;
        let commands = [encode(&good), damaged.into()];
        let id = BatchId { origin: 7, incarnation: 1, sequence: 0 };
        let batch = Batch::new(id, commands.iter());
        let request = message::propose(&Propose { leader, oldest: 0, batch });
        let response = member.inner.peer_service.open_session(&hello).handle(message::PROPOSE, request).await;
        assert!(response.unwrap_err().contains("cannot be decoded"));
        // The same for this member's own batch.
        let response = member.inner.applied.proposals.push(vec![commands[1].clone()]).unwrap().remove(0);
        assert_eq!(response.await.unwrap().unwrap_err(), Unavailable::Cancelled);
        member.propose(&good).await.unwrap();
        member.stop().await;
    }
}
