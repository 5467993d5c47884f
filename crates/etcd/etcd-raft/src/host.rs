//! What a member does for the others: raft's requests, proposals for the leader, read points,
//! snapshots. It must never append a batch for another leadership than the one it was made for,
//! nor the same batch twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use openraft::ReadPolicy;
use openraft::storage::Snapshot;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::accepted::{Acceptance, Accepted};
use crate::append_request;
use crate::applied::Applied;
use crate::hands::{Background, blocking};
use crate::leadership::Leadership;
use crate::peer::hello::{Hello, Refused, Welcome};
use crate::peer::message::{self, PingAnswer};
use crate::peer::serve::{Conversation, Handling, Host};
use crate::peers::Peers;
use crate::proposer::{Taken, append};
use crate::raft_types::{SnapshotMeta, Vote};
use crate::room::Room;
use crate::state_machine::{Raft, SnapshotData, StateMachine};
use crate::transfer::Replacement;

/// What the conversations of all peers share.
pub struct MemberHost {
    pub raft: Raft,
    pub peers: Arc<Peers>,
    pub applied: Arc<Applied>,
    pub accepted: Arc<Mutex<Accepted>>,
    pub leadership: watch::Receiver<Leadership>,
    pub checkpoint: StateMachine,
    pub append_received: Arc<AtomicU64>,
    pub room: Room,
    pub hands: Arc<dyn Background>,
}

impl Host for MemberHost {
    fn cluster_id(&self) -> u64 {
        self.peers.identity().cluster_id
    }

    fn admit(&self, hello: &Hello) -> Result<Welcome, Refused> {
        self.peers.admit(hello)
    }

    fn converse(&self, hello: &Hello) -> Box<dyn Conversation> {
        Box::new(MemberConversation {
            from: hello.from,
            disk: hello.disk,
            met: false,
            peers: Arc::clone(&self.peers),
            room: self.room.clone(),
            applied: Arc::clone(&self.applied),
            raft: self.raft.clone(),
            accepted: Arc::clone(&self.accepted),
            leadership: self.leadership.clone(),
            state_machine: self.checkpoint.clone(),
            append_received: Arc::clone(&self.append_received),
            hands: Arc::clone(&self.hands),
            receiving: None,
        })
    }
}

struct MemberConversation {
    from: u64,
    disk: u128,
    /// Whether its disk was compared with the known one.
    met: bool,
    peers: Arc<Peers>,
    room: Room,
    applied: Arc<Applied>,
    raft: Raft,
    accepted: Arc<Mutex<Accepted>>,
    leadership: watch::Receiver<Leadership>,
    state_machine: StateMachine,
    append_received: Arc<AtomicU64>,
    hands: Arc<dyn Background>,
    receiving: Option<Receiving>,
}

/// A snapshot that is being received.
struct Receiving {
    vote: Vote,
    meta: SnapshotMeta,
    /// Taken out while something is done with it. Its pieces come one after the other.
    replacement: Arc<Mutex<Option<Replacement>>>,
    hands: Arc<dyn Background>,
}

impl Receiving {
    fn new(vote: Vote, meta: SnapshotMeta, hands: Arc<dyn Background>) -> Self {
        Self { vote, meta, replacement: Arc::default(), hands }
    }

    /// Does `work` where it may block; what it gives is what the next piece comes to.
    fn write<F>(&self, work: F) -> Handling
    where
        F: FnOnce(Option<Replacement>) -> Result<Replacement, String> + Send + 'static,
    {
        let (place, hands) = (Arc::clone(&self.replacement), Arc::clone(&self.hands));
        Box::pin(async move {
            let before = place.lock().take();
            let written = blocking(&*hands, move || work(before)).await.map_err(text)?;
            *place.lock() = Some(written?);
            Ok(Bytes::new())
        })
    }

    async fn finish(self, raft: Raft) -> Result<Bytes, String> {
        let Some(replacement) = self.replacement.lock().take() else {
            return Err("the end of a snapshot that could not be written".to_owned());
        };
        let meta = self.meta.clone();
        let complete = move || replacement.complete(&meta).map(|()| replacement);
        let replacement = blocking(&*self.hands, complete).await.map_err(text)?.map_err(text)?;
        let snapshot = Snapshot { meta: self.meta, snapshot: SnapshotData::Received(replacement) };
        let answer = raft.install_full_snapshot(self.vote, snapshot).await;
        answer.map(|answer| message::snapshot_answer(&answer)).map_err(text)
    }
}

fn failed(reason: &'static str) -> Handling {
    Box::pin(async move { Err(reason.to_owned()) })
}

fn done() -> Handling {
    Box::pin(async { Ok(Bytes::new()) })
}

impl Conversation for MemberConversation {
    /// A removed member learns it when it calls again. A removed leader goes on until it has
    /// handed over. So does one whose disk turned out to be another than the recorded one, at once.
    fn is_over(&mut self) -> bool {
        if !self.met && self.peers.is_known(self.from) {
            if !self.peers.meet(self.from, self.disk).unwrap_or(false) {
                return true;
            }
            self.met = true;
        }
        if self.applied.has_other_disk(self.from, self.disk) {
            return true;
        }
        let leader = self.leadership.borrow().leader;
        let leads = leader.is_some_and(|leader| leader.node_id == self.from);
        !leads && self.applied.is_gone(self.from)
    }

    fn handle(&mut self, kind: u8, contents: Bytes) -> Handling {
        match kind {
            message::PING => {
                let (has_room, time) = (self.room.is_there(), self.peers.time().to_tell());
                let answer = message::ping_answer(&PingAnswer { has_room, time });
                Box::pin(async move { Ok(answer) })
            }
            message::OTHER_DISK => match message::read_other_disk(contents) {
                // Anyone may reach a plain peer port: a single frame must not stop this member.
                Ok(_) if !self.peers.may_refuse(self.from) => failed("a refusal by an unknown member"),
                Ok(disk) => {
                    self.peers.told_of_other_disk(self.from, disk);
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
                    let receiving = Receiving::new(vote, meta, Arc::clone(&self.hands));
                    let begun = receiving.write(move |_| Replacement::begin(&current).map_err(text));
                    self.receiving = Some(receiving);
                    begun
                }
                Err(_) => failed("a malformed snapshot"),
            },
            message::SNAPSHOT_CHUNK => match &self.receiving {
                Some(receiving) => receiving.write(move |replacement| {
                    let mut replacement = replacement.ok_or("the snapshot cannot be written")?;
                    replacement.add(contents).map_err(text)?;
                    Ok(replacement)
                }),
                None => failed("a piece of no snapshot"),
            },
            message::SNAPSHOT_END => match self.receiving.take() {
                Some(receiving) => Box::pin(receiving.finish(self.raft.clone())),
                None => failed("the end of no snapshot"),
            },
            _ => failed("a request of a later version"),
        }
    }
}

impl MemberConversation {
    fn raft_request(&mut self, kind: u8, contents: Bytes) -> Handling {
        let raft = self.raft.clone();
        if kind == message::APPEND {
            self.append_received.fetch_add(1, Ordering::Relaxed);
        }
        Box::pin(async move {
            let malformed = |error: crate::codec::DecodeError| error.to_string();
            match kind {
                message::APPEND => {
                    let request = message::read_append(contents).map_err(malformed)?;
                    let answer = append_request::answer(&raft, request).await?;
                    Ok(message::append_answer(&answer))
                }
                message::VOTE => {
                    let request = message::read_vote(contents).map_err(malformed)?;
                    Ok(message::vote_answer(&raft.vote(request).await.map_err(text)?))
                }
                message::PRE_VOTE => {
                    let request = message::read_vote(contents).map_err(malformed)?;
                    Ok(message::vote_answer(&raft.pre_vote(request).await.map_err(text)?))
                }
                _ => {
                    let request = message::read_transfer(contents).map_err(malformed)?;
                    let answer = raft.handle_transfer_leader(request).await.map_err(text)?;
                    Ok(message::transfer_answer(&answer))
                }
            }
        })
    }

    fn propose(&mut self, contents: Bytes) -> Handling {
        let Ok(request) = message::read_propose(contents) else {
            return failed("a malformed proposal");
        };
        if self.leadership.borrow().leader != Some(request.leader) {
            return failed("not the leader that the batch was made for");
        }
        // Every member would stop at such an entry, again after each restart.
        if let Err(error) = request.batch.decode() {
            tracing::error!(%error, member = format_args!("{:x}", request.batch.id().origin),
                "a member's batch of commands cannot be decoded, and is refused");
            return failed("a batch that cannot be decoded");
        }
        let acceptance = self.accepted.lock().accept(&request);
        match acceptance {
            Acceptance::New => {}
            Acceptance::Pending => return failed("the batch is on its way already"),
            Acceptance::Settled => return done(),
        }
        let (raft, accepted) = (self.raft.clone(), Arc::clone(&self.accepted));
        let taking = async move {
            let (leader, id) = (request.leader, request.batch.id());
            let taken = append(&raft, request.batch, leader).await?;
            accepted.lock().settle(leader, id, taken);
            Ok::<_, String>(taken)
        };
        // Not a part of the conversation: one that broke off would leave the batch on its way forever, and its origin
        // could bring nothing more into the log.
        let taking = tokio::spawn(taking);
        Box::pin(async move {
            match taking.await.map_err(text)?? {
                Taken::Appended => Ok(Bytes::new()),
                Taken::Refused => Err("the leader cannot take the batch now".to_owned()),
            }
        })
    }

    fn read_index(&self) -> Handling {
        let raft = self.raft.clone();
        Box::pin(async move {
            // Not the leader, or not sure to be: who asks will ask again.
            let linearizer = raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok();
            let log_id = linearizer.map(|linearizer| *linearizer.read_log_id().log_id());
            Ok(message::read_index_answer(log_id.as_ref()))
        })
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use etcd_api::Unavailable;
    use etcd_store::Command;

    use super::*;
    use crate::lone::{self, OWN};
    use crate::peer::message::Propose;
    use crate::raft_types::{Batch, BatchId};
    use crate::upkeep::encode;

    /// Its sender asks again over the next connection, and must hear what became of it.
    #[tokio::test]
    async fn a_batch_is_decided_on_though_the_conversation_breaks_off() {
        let folder = tempfile::tempdir().unwrap();
        let config = lone::config(folder.path());
        let member = lone::start(&config).await;
        let versions = (1, 1);
        let hello = Hello { versions, cluster_id: config.cluster_id, from: 7, to: OWN, disk: 0 };
        let leader = member.inner.leadership.borrow().leader.unwrap();
        let commands = [encode(&Command::SetClusterVersion { version: "2.3.0".to_owned() })];
        let id = BatchId { origin: 7, incarnation: 1, sequence: 0 };
        let batch = Batch::new(id, commands.iter());
        let request = message::propose(&Propose { leader, oldest: 0, batch });
        let ask = || member.inner.host.converse(&hello).handle(message::PROPOSE, request.clone());
        drop(ask());
        let settled = async {
            while ask().await.is_err() {
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
        let config = lone::config(folder.path());
        let member = lone::start(&config).await;
        let disk = member.inner.peers.identity().disk;
        for from in 100..200 {
            let hello = Hello { versions: (1, 1), cluster_id: config.cluster_id, from, to: OWN, disk: 0 };
            // Accepted: it may be a leader that this member does not know yet.
            member.inner.host.admit(&hello).unwrap();
            let mut conversation = member.inner.host.converse(&hello);
            assert!(!conversation.is_over());
            let refusal = conversation.handle(message::OTHER_DISK, message::other_disk(disk)).await;
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
        let config = lone::config(folder.path());
        let member = lone::start(&config).await;
        let hello = Hello { versions: (1, 1), cluster_id: config.cluster_id, from: 7, to: OWN, disk: 0 };
        let leader = member.inner.leadership.borrow().leader.unwrap();
        let good = Command::SetClusterVersion { version: "2.3.0".to_owned() };
        let mut damaged = encode(&good).to_vec();
        damaged[1] ^= 0x80;
        let commands = [encode(&good), damaged.into()];
        let id = BatchId { origin: 7, incarnation: 1, sequence: 0 };
        let batch = Batch::new(id, commands.iter());
        let request = message::propose(&Propose { leader, oldest: 0, batch });
        let answer = member.inner.host.converse(&hello).handle(message::PROPOSE, request).await;
        assert!(answer.unwrap_err().contains("cannot be decoded"));
        // The same for this member's own batch.
        let answer = member.inner.applied.proposals.push(vec![commands[1].clone()]).unwrap().remove(0);
        assert_eq!(answer.await.unwrap().unwrap_err(), Unavailable::Cancelled);
        member.propose(&good).await.unwrap();
        member.stop().await;
    }
}
