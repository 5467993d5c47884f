//! openraft's network over the members' links. It must never wait for one append before it sends
//! the next: a follower's flush would then be paid once per append.

use std::collections::VecDeque;
use std::future::Future;
use std::iter;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use openraft::OptionalSend;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{Backoff, RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::checkpoint::View;
use crate::hands::{Background, blocking};
use crate::limits::{APPENDS_IN_FLIGHT, REDIAL_PAUSE, SNAPSHOT_CALL_TIME};
use crate::peer::link::{Answer, LinkError};
use crate::peer::message;
use crate::peers::{Links, Peers};
use crate::raft_types::{LogId, PeerNode, SnapshotMeta, Types, Vote};
use crate::runtime::PATIENCE;
use crate::state_machine::{MemberSnapshot, SnapshotData};
use crate::transfer::Pieces;

/// Makes clients for openraft's tasks; they share the links to each member.
pub struct Networking {
    pub peers: Arc<Peers>,
    pub hands: Arc<dyn Background>,
}

impl RaftNetworkFactory<Types> for Networking {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> PeerClient {
        self.client(target, self.peers.links(target, &node.peer_urls))
    }

    /// Its appends are empty.
    async fn new_heartbeat_client(&mut self, target: u64, node: &PeerNode) -> PeerClient {
        let Links { urgent, .. } = self.peers.links(target, &node.peer_urls);
        self.client(target, Links { bulk: urgent.clone(), urgent })
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &PeerNode) -> PeerClient {
        let Links { urgent, .. } = self.peers.links(target, &node.peer_urls);
        let links = Links { bulk: self.peers.own_link(target, &node.peer_urls), urgent };
        PeerClient { sends_snapshots: true, ..self.client(target, links) }
    }
}

impl Networking {
    fn client(&self, target: u64, links: Links) -> PeerClient {
        let (peers, hands) = (Arc::clone(&self.peers), Arc::clone(&self.hands));
        PeerClient { peers, hands, target, links, sends_snapshots: false, unreadable: false }
    }
}

pub struct PeerClient {
    peers: Arc<Peers>,
    hands: Arc<dyn Background>,
    target: u64,
    links: Links,
    sends_snapshots: bool,
    /// The state could not be read to its end: that was reported.
    unreadable: bool,
}

type Rpc<T> = Result<T, RPCError<Types>>;

fn rpc_error(error: LinkError) -> RPCError<Types> {
    match error {
        LinkError::Unreachable => RPCError::Unreachable(Unreachable::new(&error)),
        _ => RPCError::Network(NetworkError::new(&error)),
    }
}

/// As long as openraft waits.
fn patience(option: &RPCOption) -> Duration {
    option.hard_ttl() * PATIENCE
}

fn unreadable(error: crate::codec::DecodeError) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(&error))
}

impl PeerClient {
    /// For short messages.
    async fn call(&self, kind: u8, contents: Bytes, action: RPCTypes, limit: Duration) -> Rpc<Bytes> {
        match self.links.urgent.call(kind, contents, limit).await {
            Ok(contents) => Ok(contents),
            Err(LinkError::TimedOut) => Err(RPCError::Timeout(Timeout {
                action,
                id: self.peers.identity().member_id,
                target: self.target,
                timeout: limit,
            })),
            Err(error) => Err(rpc_error(error)),
        }
    }

    async fn send_snapshot(
        &mut self,
        vote: &Vote,
        meta: &SnapshotMeta,
        view: View,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let failed = |error: LinkError| match error {
            LinkError::Unreachable => StreamingError::Unreachable(Unreachable::new(&error)),
            _ => StreamingError::Network(NetworkError::new(&error)),
        };
        let call = |kind, contents| self.links.bulk.call(kind, contents, SNAPSHOT_CALL_TIME);
        let begin = message::snapshot_begin(vote, meta);
        call(message::SNAPSHOT_BEGIN, begin).await.map_err(failed)?;
        fn network(error: impl std::fmt::Display) -> StreamingError<Types> {
            StreamingError::Network(NetworkError::from_string(error))
        }
        let mut pieces = Pieces::of(view);
        loop {
            let read = blocking(&*self.hands, move || {
                let piece = pieces.next();
                (pieces, piece)
            });
            let piece;
            (pieces, piece) = read.await.map_err(network)?;
            if let Err(error) = &piece
                && !std::mem::replace(&mut self.unreadable, true)
            {
                let member = format!("{:x}", self.target);
                tracing::error!(member, %error, "cannot read this member's state to send it");
            }
            let Some(piece) = piece.map_err(network)? else { break };
            call(message::SNAPSHOT_CHUNK, piece).await.map_err(failed)?;
        }
        let answer = call(message::SNAPSHOT_END, Bytes::new()).await.map_err(failed)?;
        message::read_snapshot_answer(answer).map_err(network)
    }
}

/// One append on its way.
struct Sent {
    prev: Option<LogId>,
    last: Option<LogId>,
    at: Instant,
    answer: Answer,
}

/// Appends on their way to one follower; answers come in the order of the requests.
struct Appends<'a, S> {
    client: &'a mut PeerClient,
    input: S,
    input_ended: bool,
    sent: VecDeque<Sent>,
}

impl<S> Appends<'_, S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin + OptionalSend,
{
    async fn next(&mut self) -> Option<Rpc<StreamAppendResult<Types>>> {
        loop {
            let room = !self.input_ended && self.sent.len() < APPENDS_IN_FLIGHT;
            let waiting = !self.sent.is_empty();
            let answered = async {
                match self.sent.front_mut() {
                    Some(sent) => (&mut sent.answer).await.unwrap_or(Err(LinkError::Lost)),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                request = self.input.next(), if room => match request {
                    Some(request) => {
                        if let Err(error) = self.send(request).await {
                            return Some(Err(rpc_error(error)));
                        }
                    }
                    None => self.input_ended = true,
                },
                answer = answered, if waiting => {
                    let sent = self.sent.pop_front()?;
                    return Some(self.finish(sent, answer));
                }
                else => return None,
            }
        }
    }

    async fn send(&mut self, request: AppendEntriesRequest<Types>) -> Result<(), LinkError> {
        let prev = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(prev);
        let contents = message::append(&request);
        let answer = self.client.links.bulk.send(message::APPEND, contents).await?;
        self.sent.push_back(Sent { prev, last, at: Instant::now(), answer });
        Ok(())
    }

    fn finish(&self, sent: Sent, answer: Result<Bytes, LinkError>) -> Rpc<StreamAppendResult<Types>> {
        let result = answer
            .map_err(rpc_error)
            .and_then(|contents| message::read_append_answer(contents).map_err(unreadable));
        let measured = result.as_ref().map(|_| sent.at.elapsed()).map_err(|_| ());
        self.client.peers.measured(self.client.target, measured);
        let response = result?;
        if response.is_conflict() && sent.prev.is_none() {
            return Err(RPCError::Network(NetworkError::from_string("a conflict with nothing")));
        }
        Ok(response.into_stream_result(sent.prev, sent.last))
    }
}

impl RaftNetworkV2<Types> for PeerClient {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<Types>> {
        let contents = message::append(&request);
        let limit = patience(&option);
        let answer = self.call(message::APPEND, contents, RPCTypes::AppendEntries, limit).await?;
        message::read_append_answer(answer).map_err(unreadable)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<StreamAppendResult<Types>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let appends = Appends { client: self, input, input_ended: false, sent: VecDeque::new() };
        let answers = stream::unfold(Some(appends), |appends| async move {
            let mut appends = appends?;
            let answer = appends.next().await?;
            // What follows a refusal was refused as well.
            let goes_on = matches!(answer, Ok(Ok(_)));
            Some((answer, goes_on.then_some(appends)))
        });
        Box::pin(async move { Ok(Box::pin(answers) as BoxStream<'s, _>) })
    }

    async fn vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> Rpc<VoteResponse<Types>> {
        let contents = message::vote(&request);
        let answer = self.call(message::VOTE, contents, RPCTypes::Vote, patience(&option)).await?;
        message::read_vote_answer(answer).map_err(unreadable)
    }

    async fn pre_vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> Rpc<VoteResponse<Types>> {
        let contents = message::vote(&request);
        let answer = self.call(message::PRE_VOTE, contents, RPCTypes::Vote, patience(&option)).await?;
        message::read_vote_answer(answer).map_err(unreadable)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: MemberSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let SnapshotData::View(view) = snapshot.snapshot else {
            let reason = "a received snapshot is installed, not sent";
            return Err(StreamingError::Network(NetworkError::from_string(reason)));
        };
        let started = Instant::now();
        tokio::select! {
            closed = pin!(cancel) => Err(StreamingError::Closed(closed)),
            result = self.send_snapshot(&vote, &snapshot.meta, view) => {
                tracing::info!(
                    member = format!("{:x}", self.target),
                    seconds = started.elapsed().as_secs_f64(),
                    sent = result.is_ok(),
                    "a snapshot for a member that is far behind"
                );
                result
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<Types>> {
        let contents = message::transfer(&request);
        let limit = patience(&option);
        let answer = self.call(message::TRANSFER, contents, RPCTypes::TransferLeader, limit).await?;
        message::read_transfer_answer(answer).map_err(unreadable)
    }

    fn backoff(&self) -> Option<Backoff> {
        // The links themselves have growing pauses. A state that cannot be read fails over each link, after much of it was
        // sent.
        Some(match self.sends_snapshots {
            true => Backoff::new(growing_pauses()),
            false => Backoff::new(iter::repeat(REDIAL_PAUSE.0)),
        })
    }
}

fn growing_pauses() -> impl Iterator<Item = Duration> {
    iter::successors(Some(REDIAL_PAUSE.0), |pause| Some((*pause * 2).min(REDIAL_PAUSE.1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hands::RealHands;
    use crate::lone;

    /// One damaged record would else be met 20 times a second, each time after all that is before it was sent.
    #[tokio::test]
    async fn a_state_is_sent_again_after_growing_pauses() {
        let folder = tempfile::tempdir().unwrap();
        let member = lone::start(&lone::config(folder.path())).await;
        let peers = Arc::clone(&member.inner.peers);
        let mut networking = Networking { peers, hands: Arc::new(RealHands) };
        let pauses = |client: &PeerClient| {
            let pauses = client.backoff().unwrap();
            pauses.take(7).map(|pause| pause.as_millis()).collect::<Vec<_>>()
        };
        let node = PeerNode::default();
        let client = networking.new_snapshot_client(2, &node).await;
        assert_eq!(pauses(&client), [50, 100, 200, 400, 800, 1000, 1000]);
        let client = networking.new_client(2, &node).await;
        assert_eq!(pauses(&client), [50; 7]);
    }
}
