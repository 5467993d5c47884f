//! openraft's network over the links to the members. Append requests are pipelined: otherwise each would wait for a
//! flush of the follower.

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

use crate::environment::{Executor, run_blocking};
use crate::limits::{MAX_APPENDS_IN_FLIGHT, REDIAL_BACKOFF, SNAPSHOT_CALL_TIMEOUT};
use crate::membership::peers::{Links, Peers};
use crate::peer::link::{LinkError, PendingResponse};
use crate::peer::message;
use crate::raft_types::{LogId, PeerNode, SnapshotMeta, Types, Vote};
use crate::runtime::TIMEOUT_FACTOR;
use crate::storage::checkpoint::View;
use crate::storage::snapshot_transfer::SnapshotChunks;
use crate::storage::state_machine::{MemberSnapshot, SnapshotData};

/// Creates clients, which share the links to each member.
pub struct NetworkFactory {
    pub peers: Arc<Peers>,
    pub executor: Arc<dyn Executor>,
}

impl RaftNetworkFactory<Types> for NetworkFactory {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> PeerClient {
        self.client(target, self.peers.links(target, &node.peer_urls))
    }

    /// Heartbeats are short, so they use the urgent link.
    async fn new_heartbeat_client(&mut self, target: u64, node: &PeerNode) -> PeerClient {
        let Links { urgent, .. } = self.peers.links(target, &node.peer_urls);
        self.client(target, Links { bulk: urgent.clone(), urgent })
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &PeerNode) -> PeerClient {
        let Links { urgent, .. } = self.peers.links(target, &node.peer_urls);
        let links = Links { bulk: self.peers.dedicated_link(target, &node.peer_urls), urgent };
        PeerClient { sends_snapshots: true, ..self.client(target, links) }
    }
}

impl NetworkFactory {
    fn client(&self, target: u64, links: Links) -> PeerClient {
        let (peers, executor) = (Arc::clone(&self.peers), Arc::clone(&self.executor));
        PeerClient { peers, executor, target, links, sends_snapshots: false, unreadable: false }
    }
}

pub struct PeerClient {
    peers: Arc<Peers>,
    executor: Arc<dyn Executor>,
    target: u64,
    links: Links,
    sends_snapshots: bool,
    /// The state could not be read, which has been logged.
    unreadable: bool,
}

type Rpc<T> = Result<T, RPCError<Types>>;

fn rpc_error(error: LinkError) -> RPCError<Types> {
    match error {
        LinkError::Unreachable => RPCError::Unreachable(Unreachable::new(&error)),
        _ => RPCError::Network(NetworkError::new(&error)),
    }
}

/// openraft's own timeout of a response.
fn response_timeout(option: &RPCOption) -> Duration {
    option.hard_ttl() * TIMEOUT_FACTOR
}

fn malformed(error: crate::codec::DecodeError) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(&error))
}

impl PeerClient {
    /// Sends a short message.
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
        let call = |kind, contents| self.links.bulk.call(kind, contents, SNAPSHOT_CALL_TIMEOUT);
        let begin = message::snapshot_begin(vote, meta);
        call(message::SNAPSHOT_BEGIN, begin).await.map_err(failed)?;
        fn network(error: impl std::fmt::Display) -> StreamingError<Types> {
            StreamingError::Network(NetworkError::from_string(error))
        }
        let mut chunks = SnapshotChunks::new(view);
        loop {
            let read = run_blocking(&*self.executor, move || {
                let chunk = chunks.next_chunk();
                (chunks, chunk)
            });
            let chunk;
            (chunks, chunk) = read.await.map_err(network)?;
            if let Err(error) = &chunk
                && !std::mem::replace(&mut self.unreadable, true)
            {
                let member = format!("{:x}", self.target);
                tracing::error!(member, %error, "cannot read this member's state to send it");
            }
            let Some(chunk) = chunk.map_err(network)? else { break };
            call(message::SNAPSHOT_CHUNK, chunk).await.map_err(failed)?;
        }
        let response = call(message::SNAPSHOT_END, Bytes::new()).await.map_err(failed)?;
        message::read_snapshot_response(response).map_err(network)
    }
}

/// An append request in flight.
struct InFlightAppend {
    prev: Option<LogId>,
    last: Option<LogId>,
    at: Instant,
    response: PendingResponse,
}

/// The append requests in flight to one follower. Responses arrive in order.
struct AppendPipeline<'a, S> {
    client: &'a mut PeerClient,
    input: S,
    input_ended: bool,
    in_flight: VecDeque<InFlightAppend>,
}

impl<S> AppendPipeline<'_, S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin + OptionalSend,
{
    async fn next(&mut self) -> Option<Rpc<StreamAppendResult<Types>>> {
        loop {
            let has_capacity = !self.input_ended && self.in_flight.len() < MAX_APPENDS_IN_FLIGHT;
            let waiting = !self.in_flight.is_empty();
            let answered = async {
                match self.in_flight.front_mut() {
                    Some(sent) => (&mut sent.response).await.unwrap_or(Err(LinkError::Lost)),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                request = self.input.next(), if has_capacity => match request {
                    Some(request) => {
                        if let Err(error) = self.send(request).await {
                            return Some(Err(rpc_error(error)));
                        }
                    }
                    None => self.input_ended = true,
                },
                response = answered, if waiting => {
                    let sent = self.in_flight.pop_front()?;
                    return Some(self.finish(sent, response));
                }
                else => return None,
            }
        }
    }

    async fn send(&mut self, request: AppendEntriesRequest<Types>) -> Result<(), LinkError> {
        let prev = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(prev);
        let contents = message::append(&request);
        let response = self.client.links.bulk.send(message::APPEND, contents).await?;
        self.in_flight.push_back(InFlightAppend { prev, last, at: Instant::now(), response });
        Ok(())
    }

    fn finish(
        &self,
        sent: InFlightAppend,
        response: Result<Bytes, LinkError>,
    ) -> Rpc<StreamAppendResult<Types>> {
        let result = response
            .map_err(rpc_error)
            .and_then(|contents| message::read_append_response(contents).map_err(malformed));
        let result_time = result.as_ref().map(|_| sent.at.elapsed()).map_err(|_| ());
        self.client.peers.record_append(self.client.target, result_time);
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
        let limit = response_timeout(&option);
        let response = self.call(message::APPEND, contents, RPCTypes::AppendEntries, limit).await?;
        message::read_append_response(response).map_err(malformed)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<StreamAppendResult<Types>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let appends = AppendPipeline { client: self, input, input_ended: false, in_flight: VecDeque::new() };
        let responses = stream::unfold(Some(appends), |appends| async move {
            let mut appends = appends?;
            let response = appends.next().await?;
            // After a rejection all later requests are rejected too.
            let succeeded = matches!(response, Ok(Ok(_)));
            Some((response, succeeded.then_some(appends)))
        });
        Box::pin(async move { Ok(Box::pin(responses) as BoxStream<'s, _>) })
    }

    async fn vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> Rpc<VoteResponse<Types>> {
        let contents = message::vote(&request);
        let response = self.call(message::VOTE, contents, RPCTypes::Vote, response_timeout(&option)).await?;
        message::read_vote_response(response).map_err(malformed)
    }

    async fn pre_vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> Rpc<VoteResponse<Types>> {
        let contents = message::vote(&request);
        let response =
            self.call(message::PRE_VOTE, contents, RPCTypes::Vote, response_timeout(&option)).await?;
        message::read_vote_response(response).map_err(malformed)
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
        let limit = response_timeout(&option);
        let response = self.call(message::TRANSFER, contents, RPCTypes::TransferLeader, limit).await?;
        message::read_transfer_response(response).map_err(malformed)
    }

    fn backoff(&self) -> Option<Backoff> {
        // Links have their own backoff. An unreadable state fails over any link, after much of it was sent.
        Some(match self.sends_snapshots {
            true => Backoff::new(exponential_backoff()),
            false => Backoff::new(iter::repeat(REDIAL_BACKOFF.0)),
        })
    }
}

fn exponential_backoff() -> impl Iterator<Item = Duration> {
    iter::successors(Some(REDIAL_BACKOFF.0), |pause| Some((*pause * 2).min(REDIAL_BACKOFF.1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::SystemEnvironment;
    use crate::single_member;

    /// Otherwise a damaged record would be read 20 times a second, each time after everything before it was sent.
    #[tokio::test]
    async fn a_state_is_sent_again_after_growing_pauses() {
        let folder = tempfile::tempdir().unwrap();
        let member = single_member::start(&single_member::config(folder.path())).await;
        let peers = Arc::clone(&member.inner.peers);
        let mut factory = NetworkFactory { peers, executor: Arc::new(SystemEnvironment) };
        let pauses = |client: &PeerClient| {
            let pauses = client.backoff().unwrap();
            pauses.take(7).map(|pause| pause.as_millis()).collect::<Vec<_>>()
        };
        let node = PeerNode::default();
        let client = factory.new_snapshot_client(2, &node).await;
        assert_eq!(pauses(&client), [50, 100, 200, 400, 800, 1000, 1000]);
        let client = factory.new_client(2, &node).await;
        assert_eq!(pauses(&client), [50; 7]);
    }
}
