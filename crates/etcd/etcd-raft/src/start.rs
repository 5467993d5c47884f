//! Starting a member, from an empty data directory or an existing one.
//!
//! Data of another member, of an unknown format or of a removed member is rejected.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use etcd_store::Command;
use futures_util::future::BoxFuture;
use openraft::errors::{InitializeError, RaftError};
use openraft::{Config, RaftMetrics, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{MemberConfig, Start};
use crate::environment::{Environment, Executor, SystemEnvironment};
use crate::maintenance::{Maintenance, encode};
use crate::member::{Inner, Member};
use crate::membership::peers::{PeerContext, Peers};
use crate::peer::link_timing::LinkTiming;
use crate::peer::network::Network;
use crate::proposals::Proposals;
use crate::raft::heartbeat;
use crate::raft::leadership::{self, Leadership};
use crate::raft::peer_service::MemberPeerService;
use crate::raft::pending_batches::PendingBatches;
use crate::raft::proposer::Proposer;
use crate::raft::raft_network::NetworkFactory;
use crate::raft::read_barrier::{PendingReads, ReadBarrier};
use crate::raft_types::{
    Entry, LeaderId, LogId, Membership, Payload, PeerNode, StoredMembership, Types, Vote,
};
use crate::storage::applied::Applied;
use crate::storage::checkpoint::{self, CheckpointError};
use crate::storage::disk_space::DiskSpace;
use crate::storage::flush_thread::FlushThread;
use crate::storage::force_new_cluster;
use crate::storage::identity::{self, IdentityError, PeerDisks};
use crate::storage::log_store::{LogStore, OpenLogError};
use crate::storage::read_watermark;
use crate::storage::state_machine::{Raft, StateMachine};
use crate::time::cluster_time::ClusterTime;
use crate::time::time_record::{self, TimeRecord};

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the data directory")]
    Identity(#[from] IdentityError),
    #[error("the member's log")]
    Log(#[from] OpenLogError),
    #[error("the member's state")]
    Checkpoint(#[from] CheckpointError),
    /// Entries are purged only behind a durable checkpoint, so the state was lost.
    #[error(
        "the state is missing: the log begins after entry {purged}, and the state is that after entry {applied}"
    )]
    StateMissing { purged: u64, applied: u64 },
    #[error("the data directory")]
    Io(#[from] io::Error),
    #[error("the member has been permanently removed from the cluster")]
    Removed,
    #[error("a new cluster needs this member among its first ones")]
    NotInitial,
    #[error("no data for a new cluster")]
    NoExistingData,
    #[error("timing: {0}")]
    Timing(#[from] openraft::ConfigError),
    #[error("raft: {0}")]
    Raft(String),
}

impl Member {
    pub async fn start(config: MemberConfig, network: Arc<dyn Network>) -> Result<Member, StartError> {
        Self::start_with(config, network, Arc::new(SystemEnvironment)).await
    }

    /// Starts in another environment, such as a simulated one.
    ///
    /// The future is boxed, so that openraft is compiled in this crate and not in each one that polls the future.
    pub fn start_with(
        config: MemberConfig,
        network: Arc<dyn Network>,
        environment: Arc<dyn Environment>,
    ) -> BoxFuture<'static, Result<Member, StartError>> {
        Box::pin(Self::start_in(config, network, environment))
    }

    async fn start_in(
        config: MemberConfig,
        network: Arc<dyn Network>,
        environment: Arc<dyn Environment>,
    ) -> Result<Member, StartError> {
        let started = Instant::now();
        let config = Arc::new(config);
        let identity = identity::open_or_create(&config.data_dir, config.cluster_id, config.member_id)?;
        let disks = PeerDisks::open(&config.data_dir)?;
        let (log, flush_thread) = LogStore::open(
            Arc::clone(&environment),
            &config.log_dir(),
            config.log_segment_bytes,
            Arc::clone(&config.disk_metrics),
        )?;
        let executor: Arc<dyn Executor> = environment;
        let checkpoint = checkpoint::open(&config.data_dir.join("state"))?;
        let proposals = Proposals::new(config.member_id, rand::random());
        let (watermark_file, watermark) = read_watermark::open(&config.data_dir)?;
        let applied = Arc::new(Applied::new(proposals, watermark_file));
        applied.restore(&checkpoint)?;
        check_state_present(&log, applied.meta().last_log_id)?;
        log.reconcile_with_checkpoint(applied.meta().last_log_id).await?;
        // It was applied, so it is committed: openraft applies it before there is a leader.
        log.restore_committed(watermark)?;
        if applied.is_removed(config.member_id) {
            return Err(StartError::Removed);
        }
        let forced = force_new_cluster::trigger(&config.data_dir, config.force_new_cluster);
        if forced.is_some() {
            append_single_voter_config(&config, &log, &applied).await?;
        }
        let space = log.disk_space();
        let pristine = log.vote().is_none() && log.last_log_id()?.is_none();
        let timing = LinkTiming::new(config.heartbeat, config.election_timeout);
        let peer_metrics = Arc::clone(&config.peer_metrics);
        let (record, initial_time) = time_record::open(&config.data_dir, &*config.clock)?;
        let time = Arc::new(ClusterTime::new(Arc::clone(&config.clock), config.member_id, initial_time));
        let (Start::New(configured) | Start::Join(configured)) = &config.start;
        let configured = configured.iter().map(|member| member.id).collect();
        let context = PeerContext { identity, configured, disks };
        let peers = Peers::new(context, network, timing, Arc::clone(&applied), peer_metrics, time);
        let disk_metrics = Arc::clone(&config.disk_metrics);
        let state_machine =
            StateMachine::new(Arc::clone(&applied), checkpoint, disk_metrics, Arc::clone(&executor));
        let factory = NetworkFactory { peers: Arc::clone(&peers), executor: Arc::clone(&executor) };
        let raft_config = Arc::new(raft_config(&config)?);
        let raft = Raft::new(config.member_id, raft_config, factory, log, state_machine.clone()).await;
        let raft = raft.map_err(|error| StartError::Raft(error.to_string()))?;
        if pristine {
            initialize(&raft, &config).await?;
        }
        elect_if_only_voter(&raft, config.member_id).await?;
        let resumed = watermark.is_some() && applied.meta().last_log_id >= watermark;
        let parts = MemberParts {
            config,
            raft,
            applied,
            peers,
            state_machine,
            space,
            started,
            resumed,
            executor,
            record,
        };
        let member = parts.assemble(flush_thread);
        if forced.is_some() {
            remove_other_members(&member).await;
        }
        Ok(member)
    }
}

fn check_state_present(log: &LogStore, applied: Option<LogId>) -> Result<(), StartError> {
    let applied = applied.map_or(0, |applied| applied.index);
    match log.last_purged()? {
        Some(purged) if purged.index > applied => {
            Err(StartError::StateMissing { purged: purged.index, applied })
        }
        _ => Ok(()),
    }
}

fn raft_config(config: &MemberConfig) -> Result<Config, openraft::ConfigError> {
    let millis = |duration: Duration| duration.as_millis() as u64;
    let election = millis(config.election_timeout);
    let election_min = election * 3 / 10;
    Config {
        cluster_name: format!("{:x}", config.cluster_id),
        // What openraft derives its timers and the timeout of responses from, a quarter of the election timeout. The
        // heartbeats are those of `raft::heartbeat`.
        heartbeat_interval: (election_min * 5 / 6).max(1),
        enable_heartbeat: false,
        // A follower waits for the leader's lease (`max`) plus a random time between `min` and `max`: together at
        // most the configured election timeout.
        election_timeout_min: election_min,
        election_timeout_max: election / 2,
        install_snapshot_timeout: millis(crate::limits::SNAPSHOT_CALL_TIMEOUT),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_count),
        max_in_snapshot_log_to_keep: config.catch_up_entries,
        replication_lag_threshold: config.catch_up_entries,
        enable_pre_vote: Some(true),
        // A restarted leader has forgotten which batches it has registered: see `peer_service.rs`.
        enable_leader_restore: Some(false),
        ..Config::default()
    }
    .validate()
}

/// The first member of a new cluster initializes it. The others wait for its leader in turn before they do so, to
/// avoid competing.
async fn initialize(raft: &Raft, config: &MemberConfig) -> Result<(), StartError> {
    let Start::New(initial) = &config.start else { return Ok(()) };
    if !initial.iter().any(|member| member.id == config.member_id) {
        return Err(StartError::NotInitial);
    }
    let node = |urls: &Vec<String>| PeerNode { peer_urls: urls.clone() };
    let nodes = initial.iter().map(|member| (member.id, node(&member.peer_urls)));
    let nodes = nodes.collect::<BTreeMap<_, _>>();
    let rank = nodes.keys().position(|id| *id == config.member_id).unwrap_or_default();
    let raft = raft.clone();
    let delay = config.election_timeout * rank as u32;
    let initialize = async move {
        let has_leader = |metrics: &RaftMetrics<Types>| metrics.current_leader.is_some();
        if rank > 0 && raft.wait(Some(delay)).metrics(has_leader, "a leader").await.is_ok() {
            return Ok(());
        }
        match raft.initialize(nodes).await {
            // The cluster was initialized meanwhile.
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) | Ok(()) => Ok(()),
            Err(error) => Err(StartError::Raft(error.to_string())),
        }
    };
    if rank == 0 {
        return initialize.await;
    }
    tokio::spawn(async move {
        if let Err(error) = initialize.await {
            tracing::error!(%error, "the new cluster is not begun by this member");
        }
    });
    Ok(())
}

/// No other member can be elected, so there is no reason to wait for the timeout.
async fn elect_if_only_voter(raft: &Raft, member_id: u64) -> Result<(), StartError> {
    let only_voter = raft
        .with_raft_state(move |state| {
            let effective = state.membership_state.effective();
            effective.voter_ids().eq([member_id])
        })
        .await
        .map_err(|error| StartError::Raft(error.to_string()))?;
    if only_voter {
        let elected = raft.trigger().elect(false).await;
        elected.map_err(|error| StartError::Raft(error.to_string()))?;
    }
    Ok(())
}

/// Appends a configuration with this member as the only voter, as a leader of a new term would. This commits
/// everything in the log.
async fn append_single_voter_config(
    config: &MemberConfig,
    log: &LogStore,
    applied: &Applied,
) -> Result<(), StartError> {
    let last = log.last_log_id()?.max(applied.meta().last_log_id);
    let (Some(last), Some(vote)) = (last, log.vote()) else {
        return Err(StartError::NoExistingData);
    };
    let term = vote.leader_id.term.max(last.leader_id.term) + 1;
    let leader_id = LeaderId { term, node_id: config.member_id };
    let voters = vec![[config.member_id].into()];
    let node = PeerNode { peer_urls: config.peer_urls.clone() };
    let nodes = BTreeMap::from([(config.member_id, node)]);
    let membership = Membership::new(voters, nodes);
    let membership = membership.map_err(|error| StartError::Raft(error.to_string()))?;
    let entry = Entry {
        log_id: LogId { leader_id, index: last.index + 1 },
        payload: Payload::Membership(membership.clone()),
    };
    log.force_append(Vote { leader_id, committed: false }, &entry).await?;
    applied.with_inner(|inner| {
        inner.membership = StoredMembership::new(inner.last_applied, membership);
    });
    tracing::warn!("this member is a new cluster of its own now");
    Ok(())
}

/// Removes all other members from the state.
async fn remove_other_members(member: &Member) {
    let own = member.inner.config.member_id;
    let others = || {
        member.read(|store| {
            let members = store.membership().members().map(|member| member.id);
            members.filter(|id| *id != own).collect::<Vec<_>>()
        })
    };
    if let Err(error) = member.barrier().await {
        tracing::error!(%error, "the former members are still recorded");
        return;
    }
    let commands = others().into_iter().map(|id| encode(&Command::RemoveMember { id }));
    match member.inner.applied.proposals.push(commands.collect()) {
        Ok(results) => {
            for result in results {
                // The results are in the state.
                result.await.ok();
            }
        }
        Err(error) => return tracing::error!(%error, "the former members are still recorded"),
    }
    if let Err((path, error)) = force_new_cluster::complete(&member.inner.config.data_dir) {
        tracing::error!(path = %path.display(), %error, "the next start removes the members again");
    }
}

struct MemberParts {
    config: Arc<MemberConfig>,
    raft: Raft,
    applied: Arc<Applied>,
    peers: Arc<Peers>,
    state_machine: StateMachine,
    space: DiskSpace,
    started: Instant,
    resumed: bool,
    executor: Arc<dyn Executor>,
    record: TimeRecord,
}

impl MemberParts {
    fn assemble(self, flush_thread: FlushThread) -> Member {
        let Self { config, raft, applied, peers, state_machine, space, started, resumed, executor, record } =
            self;
        let (sender, leadership) = watch::channel(Leadership::none());
        let mut tasks = JoinSet::new();
        tasks.spawn(leadership::follow(raft.clone(), Arc::new(sender), Arc::clone(&peers)));
        tasks.spawn(heartbeat::send(raft.clone(), config.heartbeat, peers.ticks()));
        let connection_lost = Arc::new(Mutex::new(None));
        let proposer = Proposer {
            raft: raft.clone(),
            applied: Arc::clone(&applied),
            peers: Arc::clone(&peers),
            leadership: leadership.clone(),
            connection_lost: Arc::clone(&connection_lost),
        };
        tasks.spawn(proposer.run());
        let reads = Arc::new(PendingReads::default());
        let barrier = ReadBarrier {
            pending: Arc::clone(&reads),
            raft: raft.clone(),
            applied: Arc::clone(&applied),
            peers: Arc::clone(&peers),
            leadership: leadership.clone(),
        };
        tasks.spawn(barrier.run());
        let maintenance = Arc::new(Maintenance {
            config: Arc::clone(&config),
            raft: raft.clone(),
            applied: Arc::clone(&applied),
            peers: Arc::clone(&peers),
            leadership: leadership.clone(),
            state_machine: state_machine.clone(),
            disk_space: space.clone(),
        });
        tasks.spawn(Arc::clone(&maintenance).expire(record));
        tasks.spawn(maintenance.run());
        let append_received = Arc::new(AtomicU64::new(0));
        let peer_service = Arc::new(MemberPeerService {
            raft: raft.clone(),
            peers: Arc::clone(&peers),
            applied: Arc::clone(&applied),
            pending_batches: Arc::new(Mutex::new(PendingBatches::default())),
            leadership: leadership.clone(),
            checkpoint: state_machine,
            append_received: Arc::clone(&append_received),
            disk_space: space.clone(),
            executor: Arc::clone(&executor),
        });
        let inner = Inner {
            config,
            raft,
            applied,
            peers,
            peer_service,
            leadership,
            reads,
            connection_lost,
            append_received,
            disk_space: space,
            failed: AtomicU64::new(0),
            started,
            resumed,
            tasks: Mutex::new(tasks),
            flush_thread: Mutex::new(Some(flush_thread)),
            executor,
        };
        Member { inner: Arc::new(inner) }
    }
}
