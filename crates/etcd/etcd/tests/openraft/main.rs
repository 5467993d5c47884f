//! Undocumented behavior of openraft that members depend on, tested against openraft alone. The comments name the
//! dependent parts of `etcd-raft`.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]

mod store;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::Config;
use openraft::errors::{ClientWriteError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::ProgressResponder;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, ServerState};
use store::{Entry, LogId, Machine, Memory, Payload, Raft, Snapshot, Types, Vote, blank, id, text, vote};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// A response that takes longer never arrives. Time is virtual.
const NEVER: Duration = Duration::from_secs(1);

/// A network to members that grant every vote and answer heartbeats, but no request with entries.
struct Deaf;

impl RaftNetworkFactory<Types> for Deaf {
    type Network = Deaf;

    async fn new_client(&mut self, _: u64, _: &()) -> Deaf {
        Deaf
    }
}

impl RaftNetworkV2<Types> for Deaf {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        if request.entries.is_empty() {
            return Ok(AppendEntriesResponse::Success);
        }
        std::future::pending().await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(VoteResponse::new(request.vote, None, true))
    }

    async fn full_snapshot(
        &mut self,
        _: Vote,
        _: Snapshot,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Err(StreamingError::Unreachable(Unreachable::from_string("deaf")))
    }
}

/// Starts member 1, which begins no election.
async fn start(log: &Memory, restores_leader: bool) -> (Raft, Machine) {
    let config = Config {
        heartbeat_interval: 100,
        election_timeout_min: 100_000,
        election_timeout_max: 200_000,
        enable_leader_restore: Some(restores_leader),
        ..Config::default()
    };
    let machine = Machine::default();
    let config = Arc::new(config.validate().unwrap());
    let raft = Raft::new(1, config, Deaf, log.clone(), machine.clone()).await.unwrap();
    (raft, machine)
}

fn append(vote: Vote, prev: Option<LogId>, entries: Vec<Entry>) -> AppendEntriesRequest<Types> {
    AppendEntriesRequest { vote, prev_log_id: prev, entries, leader_commit: None }
}

fn members(ids: &[u64]) -> BTreeMap<u64, ()> {
    ids.iter().map(|id| (*id, ())).collect()
}

/// Member 1 as the leader of `ids`.
async fn leader(ids: &[u64]) -> (Raft, Machine, Memory) {
    let log = Memory::default();
    let (raft, machine) = start(&log, false).await;
    raft.initialize(members(ids)).await.unwrap();
    raft.wait(Some(NEVER)).state(ServerState::Leader, "it leads").await.unwrap();
    // Its lease begins with the first answered heartbeats.
    tokio::time::sleep(NEVER).await;
    (raft, machine, log)
}

/// `append_request.rs` answers a heartbeat before the flush that openraft waits for. That must not acknowledge too
/// much.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_waits_for_an_earlier_flush_but_the_state_does_not() {
    let log = Memory::default();
    let (raft, _) = start(&log, false).await;
    let leads = vote(2, 2, true);
    let first = append(leads, None, vec![blank(2, 2, 0)]);
    assert!(matches!(raft.append_entries(first).await.unwrap(), AppendEntriesResponse::Success));

    log.hold_flushes();
    let entry = append(leads, Some(id(2, 2, 0)), vec![text(2, 2, 1, "x")]);
    let writing = tokio::spawn({
        let raft = raft.clone();
        async move { raft.append_entries(entry).await }
    });
    while log.last() != Some(id(2, 2, 1)) {
        tokio::task::yield_now().await;
    }
    let heartbeat = append(leads, Some(id(2, 2, 0)), vec![]);
    let mut answered = Box::pin(raft.append_entries(heartbeat));
    assert!(timeout(NEVER, &mut answered).await.is_err(), "`append_request.rs` is not needed any more");
    // openraft handles requests in order.
    let (sender, state) = oneshot::channel();
    raft.external_request(move |state| {
        sender.send((*state.vote_ref(), state.log_ids.last().copied())).unwrap()
    })
    .await
    .unwrap();
    assert_eq!(timeout(NEVER, state).await.unwrap().unwrap(), (leads, Some(id(2, 2, 1))));
    // The entry is in the log but not reported as flushed.
    let flushed = raft.watch_log_progress().get().unwrap();
    assert_eq!((flushed.vote, flushed.last_log_id), (leads, Some(id(2, 2, 0))));

    log.release_flushes();
    assert!(matches!(answered.await.unwrap(), AppendEntriesResponse::Success));
    assert!(matches!(writing.await.unwrap().unwrap(), AppendEntriesResponse::Success));
    assert_eq!(raft.watch_log_progress().get().unwrap().last_log_id, Some(id(2, 2, 1)));
}

/// A rejection waits for no flush, so `append_request.rs` needs only the state otherwise.
#[tokio::test(start_paused = true)]
async fn a_rejected_heartbeat_is_answered_before_the_state() {
    let log = Memory::default();
    let (raft, _) = start(&log, false).await;
    raft.append_entries(append(vote(5, 2, true), None, vec![blank(5, 2, 0)])).await.unwrap();
    log.hold_flushes();
    let (deposed, conflict) = (
        append(vote(4, 3, true), Some(id(4, 3, 0)), vec![]),
        append(vote(5, 2, true), Some(id(5, 2, 7)), vec![]),
    );
    assert!(matches!(
        timeout(NEVER, raft.append_entries(deposed)).await.unwrap().unwrap(),
        AppendEntriesResponse::HigherVote(_)
    ));
    assert!(matches!(
        timeout(NEVER, raft.append_entries(conflict)).await.unwrap().unwrap(),
        AppendEntriesResponse::Conflict
    ));
}

/// `proposer.rs` sends a batch to one leadership only, and retries if it was rejected.
#[tokio::test(start_paused = true)]
async fn a_write_for_another_leadership_is_rejected() {
    let (raft, machine, log) = leader(&[1]).await;
    let leads = log.vote().unwrap().leader_id;
    let write = |what: &'static str, term: u64| {
        let raft = raft.clone();
        async move {
            let (responder, done) = ProgressResponder::complete_only();
            let leader = store::LeaderId { term, node_id: 1 };
            raft.write(what.to_owned()).with_leader(leader).responder(responder).await.unwrap();
            done.await.unwrap()
        }
    };
    let before = log.last();
    for term in [leads.term - 1, leads.term + 1] {
        let refused = write("another's", term).await.unwrap_err();
        assert!(matches!(refused, ClientWriteError::ForwardToLeader(_)), "{refused}");
    }
    assert_eq!(log.last(), before);
    write("its own", leads.term).await.unwrap();
    assert_eq!(machine.strings(), ["its own"]);
}

/// `proposals.rs` proposes again what an entry of a later leader shows to be lost, so nothing else may report it as
/// applied.
#[tokio::test(start_paused = true)]
async fn a_replaced_write_is_not_reported_as_applied() {
    let (raft, machine, log) = leader(&[1, 2, 3]).await;
    let (responder, mut done) = ProgressResponder::complete_only();
    raft.write("lost".to_owned()).responder(responder).await.unwrap();
    let outcome = timeout(NEVER, &mut done).await;
    assert!(outcome.is_err(), "no other member has it: {outcome:?}");
    let last = log.last().unwrap();
    let (term, end) = (last.leader_id.term + 1, last.index);
    let replaces =
        append(vote(term, 2, true), log.first(), (1..=end).map(|index| blank(term, 2, index)).collect());
    assert!(matches!(raft.append_entries(replaces).await.unwrap(), AppendEntriesResponse::Success));
    assert_eq!(log.last(), Some(id(term, 2, end)));
    let outcome = timeout(NEVER, done).await;
    assert!(!matches!(outcome, Ok(Ok(Ok(_)))), "it is in no log");
    assert_eq!(machine.strings(), [""; 0]);
}

/// `leader_transfer.rs` transfers the leadership. If the successor does not take over, the leader rejects writes and
/// sends no heartbeats until another member is elected. It cannot be undone and has no timeout.
#[tokio::test(start_paused = true)]
async fn a_leader_whose_successor_is_deaf_refuses_writes_until_another_election() {
    let (raft, _, log) = leader(&[1, 2, 3]).await;
    let write = || timeout(NEVER, raft.client_write("new".to_owned()));
    assert!(write().await.is_err(), "taken, and replicated to nobody");
    raft.trigger().transfer_leader(2).await.unwrap();
    let last = log.last();
    for waited in [0, 1, 1_000] {
        tokio::time::sleep(NEVER * waited).await;
        let refused = write().await.expect("an answer").unwrap_err();
        assert_eq!(refused.forward_to_leader().unwrap().leader_id, Some(2));
    }
    assert_eq!((raft.current_leader().await, log.last()), (Some(1), last));
    let another = vote(log.vote().unwrap().leader_id.term + 1, 3, true);
    assert!(matches!(
        raft.append_entries(append(another, last, vec![])).await.unwrap(),
        AppendEntriesResponse::Success
    ));
    raft.trigger().elect(false).await.unwrap();
    raft.wait(Some(NEVER)).state(ServerState::Leader, "of a later term").await.unwrap();
    tokio::time::sleep(NEVER).await;
    let taken = write().await;
    assert!(taken.is_err(), "{taken:?}");
}

/// A restarted leader has forgotten which batches it has registered (`start.rs`).
#[tokio::test(start_paused = true)]
async fn a_leader_that_restarts_leads_only_after_an_election() {
    let (raft, _, log) = leader(&[1, 2, 3]).await;
    raft.shutdown().await.unwrap();
    let (raft, _) = start(&log, false).await;
    assert!(raft.wait(Some(NEVER)).state(ServerState::Leader, "").await.is_err());
    raft.shutdown().await.unwrap();
    let (raft, _) = start(&log, true).await;
    raft.wait(Some(NEVER)).state(ServerState::Leader, "with the option it does").await.unwrap();
}

/// `log_store.rs` restores a commit index only within the log: openraft applies it before there is a leader.
#[tokio::test(start_paused = true)]
async fn committed_entries_are_applied_at_startup() {
    let log = Memory::default();
    log.write(
        vote(2, 2, true),
        vec![blank(2, 2, 0), text(2, 2, 1, "a"), text(2, 2, 2, "b"), text(2, 2, 3, "c")],
    );
    log.commit(id(2, 2, 2));
    let (raft, machine) = start(&log, false).await;
    assert_eq!(raft.current_leader().await, None);
    assert_eq!(machine.strings(), ["a", "b"]);
}

/// Recovery from a lost majority (`start.rs`, `append_single_voter_config`): a configuration and a vote without an
/// election.
#[tokio::test(start_paused = true)]
async fn a_forced_configuration_makes_a_leader() {
    let log = Memory::default();
    let three =
        Payload::Membership(openraft::Membership::new(vec![[1, 2, 3].into()], members(&[1, 2, 3])).unwrap());
    let alone = Payload::Membership(openraft::Membership::new(vec![[1].into()], members(&[1])).unwrap());
    log.write(
        vote(3, 1, false),
        vec![
            Entry { log_id: id(0, 0, 0), payload: three },
            text(2, 2, 1, "committed by nobody that is left"),
            Entry { log_id: id(3, 1, 2), payload: alone },
        ],
    );
    let (raft, machine) = start(&log, false).await;
    raft.trigger().elect(false).await.unwrap();
    raft.wait(Some(NEVER)).state(ServerState::Leader, "alone").await.unwrap();
    raft.client_write("new".to_owned()).await.unwrap();
    assert_eq!(machine.strings(), ["committed by nobody that is left", "new"]);
}
