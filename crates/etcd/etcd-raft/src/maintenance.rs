//! Periodic tasks. The leader expires keys, reconciles raft's configuration with the members, and records the members
//! of a new cluster; with a full disk it transfers its leadership. Each member publishes its name and its disk,
//! writes checkpoints, and stops once it is removed.
//!
//! The state is changed only by proposals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use etcd_api::{Member, Unavailable};
use etcd_store::Command;
use openraft::async_runtime::WatchReceiver;
use openraft::{ChangeMembers, ReadPolicy};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::{MemberConfig, Start};
use crate::limits::{
    CHECKPOINT_INTERVAL, CHECKPOINT_LOG_BYTES, EXPIRY_INTERVAL, MAX_LEARNER_LAG, MEMBERSHIP_INTERVAL,
};
use crate::membership::peers::{Peers, StopReason};
use crate::membership::plan::{Observation, Step, plan};
use crate::raft::leader_transfer::{FullDiskLeader, transfer_leadership};
use crate::raft::leadership::Leadership;
use crate::status::Role;
use crate::storage::applied::Applied;
use crate::storage::disk_space::DiskSpace;
use crate::storage::state_machine::{Raft, StateMachine};
use crate::time::time_record::TimeRecord;

pub struct Maintenance {
    pub config: Arc<MemberConfig>,
    pub raft: Raft,
    pub applied: Arc<Applied>,
    pub peers: Arc<Peers>,
    pub leadership: watch::Receiver<Leadership>,
    pub state_machine: StateMachine,
    pub disk_space: DiskSpace,
}

pub fn encode(command: &Command) -> Bytes {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    bytes.into()
}

impl Maintenance {
    fn leads(&self) -> bool {
        self.leadership.borrow().role == Role::Leader
    }

    /// Proposes commands and waits for their results.
    async fn propose(&self, commands: &[Command]) -> Result<(), Unavailable> {
        let results = self.applied.proposals.push(commands.iter().map(encode).collect())?;
        let limit = self.config.request_timeout();
        for result in results {
            match tokio::time::timeout(limit, result).await {
                Ok(Ok(result)) => drop(result?),
                _ => return Err(Unavailable::TimedOut),
            }
        }
        Ok(())
    }

    /// Whether this member is the only voter.
    fn is_only_voter(&self) -> bool {
        self.raft.metrics().borrow_watched().membership_config.voter_ids().eq([self.config.member_id])
    }

    /// Confirms with a majority that this member still leads: it may have been paused.
    async fn confirm_leadership(&self) -> bool {
        let confirmed = self.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        tokio::time::timeout(EXPIRY_INTERVAL, confirmed).await.is_ok_and(|confirmed| confirmed.is_ok())
    }

    /// Records the cluster's time, and expires keys while this member leads.
    pub async fn expire(self: Arc<Self>, mut record: TimeRecord) {
        let mut ticks = tokio::time::interval(EXPIRY_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let time = self.peers.time();
            if let Some((now, monotonic)) = time.known() {
                record.update(now, monotonic);
            }
            if !self.leads() {
                continue;
            }
            if time.may_initialize(self.is_only_voter()) && self.confirm_leadership().await {
                time.initialize();
            }
            let Some(now) = time.advance() else { continue };
            let next = self.applied.read(etcd_store::Store::next_expiration);
            if next.is_some_and(|next| next <= now)
                && let Err(error) = self.propose(&[Command::Sync { now }]).await
            {
                tracing::warn!(%error, "expired nodes stay for now");
            }
        }
    }

    pub async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(MEMBERSHIP_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut checkpoint = (Instant::now(), 0);
        let mut full = FullDiskLeader::default();
        loop {
            ticks.tick().await;
            self.trigger_checkpoint(&mut checkpoint).await;
            self.keep_links();
            let own = self.config.member_id;
            if let Some(to) = full.transfer_target(&self.raft, own, &self.disk_space, &self.peers) {
                tracing::warn!("this leader's disk has had no room for too long");
                transfer_leadership(&self.raft, self.leadership.clone(), own, to).await;
            }
            if self.leads() {
                self.run_as_leader().await;
            }
            self.publish().await;
            self.record_disk().await;
            if self.applied.is_removed(self.config.member_id) && !self.leads() {
                self.peers.stop(StopReason::Removed);
                return;
            }
        }
    }

    /// openraft triggers checkpoints by entry count; this triggers them by time and by log size.
    async fn trigger_checkpoint(&self, last: &mut (Instant, u64)) {
        let applied = *self.applied.index().borrow();
        let old = last.0.elapsed() > CHECKPOINT_INTERVAL && applied > last.1;
        if old || self.state_machine.log_bytes() > CHECKPOINT_LOG_BYTES {
            *last = (Instant::now(), applied);
            if let Err(error) = self.raft.trigger().snapshot().await {
                tracing::warn!(%error, "no checkpoint");
            }
        }
    }

    /// Keeps links to the members of raft's configuration only.
    fn keep_links(&self) {
        let metrics = self.raft.metrics();
        let config = Arc::clone(&metrics.borrow_watched().membership_config);
        if let (Start::Join(known), None) = (&self.config.start, config.nodes().next()) {
            for member in known.iter().filter(|member| member.id != self.config.member_id) {
                self.peers.links(member.id, &member.peer_urls);
            }
            return;
        }
        for (id, node) in config.nodes() {
            if *id != self.config.member_id {
                self.peers.links(*id, &node.peer_urls);
            }
        }
        self.peers.retain(|id| config.get_node(&id).is_some());
    }

    async fn run_as_leader(&self) {
        let known = self.applied.read(|store| {
            let membership = store.membership();
            (membership.members().count(), membership.cluster_version().is_some())
        });
        let result = match known {
            (0, _) => self.record_members().await,
            (_, false) => {
                let version = self.config.cluster_version.clone();
                self.propose(&[Command::SetClusterVersion { version }]).await
            }
            _ => Ok(()),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "the new cluster is not recorded yet");
            return;
        }
        if let Some(step) = self.plan() {
            tracing::info!(?step, "raft's configuration follows the members");
            if let Err(error) = self.carry_out(&step).await {
                tracing::warn!(?step, error, "raft's configuration stays for now");
            }
        }
    }

    /// Records a new cluster's members as raft was initialized with them.
    async fn record_members(&self) -> Result<(), Unavailable> {
        let metrics = self.raft.metrics();
        let config = Arc::clone(&metrics.borrow_watched().membership_config);
        let initial = match &self.config.start {
            Start::New(initial) => initial.as_slice(),
            Start::Join(_) => &[],
        };
        let name = |id| initial.iter().find(|member| member.id == id).map(|m| m.name.clone());
        let commands = config.nodes().map(|(id, node)| {
            Command::AddMember(Member {
                id: *id,
                name: name(*id).unwrap_or_default(),
                peer_urls: node.peer_urls.clone(),
                client_urls: Vec::new(),
            })
        });
        self.propose(&commands.collect::<Vec<_>>()).await
    }

    fn plan(&self) -> Option<Step> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.iter().flatten();
        let matched = matched.filter_map(|(id, log_id)| Some((*id, (*log_id)?.index)));
        let matched = matched.collect::<BTreeMap<_, _>>();
        let raft = metrics.membership_config.membership();
        self.applied.read(|store| {
            plan(&Observation {
                members: store.membership(),
                raft,
                matched: &matched,
                last_index: metrics.last_log_index.unwrap_or_default(),
                lag: MAX_LEARNER_LAG,
            })
        })
    }

    async fn carry_out(&self, step: &Step) -> Result<(), String> {
        let change = match step {
            Step::AddLearner { id, node } => ChangeMembers::AddNodes(BTreeMap::from([(*id, node.clone())])),
            Step::Promote { id } => ChangeMembers::AddVoterIds(BTreeSet::from([*id])),
            // Adding no voter leaves the joint configuration.
            Step::LeaveJoint => ChangeMembers::AddVoterIds(BTreeSet::new()),
            Step::UpdatePeerUrls { id, node } => {
                ChangeMembers::SetNodes(BTreeMap::from([(*id, node.clone())]))
            }
            Step::Remove { id } => {
                let metrics = self.raft.metrics();
                let voter = metrics.borrow_watched().membership_config.voter_ids().any(|v| v == *id);
                let ids = BTreeSet::from([*id]);
                if voter { ChangeMembers::RemoveVoters(ids) } else { ChangeMembers::RemoveNodes(ids) }
            }
        };
        let changing = self.raft.change_membership(change, false);
        match tokio::time::timeout(self.config.request_timeout(), changing).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no quorum in time".to_owned()),
        }
    }

    /// Records this member's disk once all members support that. Stops if another disk is recorded.
    async fn record_disk(&self) {
        if self.leadership.borrow().leader.is_none() {
            return;
        }
        let (id, disk) = (self.config.member_id, self.peers.identity().disk);
        let (is_member, recorded, known) = self.applied.read(|store| {
            let members = store.membership();
            (members.get(id).is_some(), members.disk(id), members.has_disks())
        });
        let instead_of = match recorded {
            Some(recorded) if recorded == disk => return,
            Some(_) if !self.config.force_new_cluster => {
                tracing::error!("this member is recorded with another disk");
                return self.peers.stop(StopReason::DiskReplaced);
            }
            recorded => recorded,
        };
        let others = || {
            let metrics = self.raft.metrics();
            let config = Arc::clone(&metrics.borrow_watched().membership_config);
            let ids = config.nodes().map(|(node, _)| *node).filter(|node| *node != id);
            self.peers.support_disk_records(ids)
        };
        if is_member && (known || others()) {
            let record = Command::RecordDisk { id, disk, instead_of };
            if let Err(error) = self.propose(&[record]).await {
                tracing::warn!(%error, "this member's disk is not recorded yet");
            }
        }
    }

    /// Publishes this member's name and client URLs if the record differs.
    async fn publish(&self) {
        if self.leadership.borrow().leader.is_none() {
            return;
        }
        let MemberConfig { member_id, name, client_urls, .. } = &*self.config;
        let outdated = self.applied.read(|store| {
            let recorded = store.membership().get(*member_id);
            recorded.is_some_and(|m| m.name != *name || m.client_urls != *client_urls)
        });
        if outdated {
            let (id, name, client_urls) = (*member_id, name.clone(), client_urls.clone());
            let publish = Command::PublishMember { id, name, client_urls };
            if let Err(error) = self.propose(&[publish]).await {
                tracing::warn!(%error, "this member's name is not published yet");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::environment::SystemEnvironment;
    use crate::raft_types::{Entry, LeaderId, LogId, Membership, Payload, PeerNode, Types, Vote};
    use crate::single_member::{self, OWN};
    use crate::storage::log_store::LogStore;

    const DEADLINE: Duration = Duration::from_secs(30);

    /// Writes the log of a leader that was lost in a joint configuration.
    async fn begin_membership_change(config: &MemberConfig) {
        let times = Arc::clone(&config.disk_metrics);
        let opened =
            LogStore::open(Arc::new(SystemEnvironment), &config.log_dir(), config.log_segment_bytes, times);
        let (log, _flush_thread) = opened.unwrap();
        let (last, vote) = (log.last_log_id().unwrap().unwrap(), log.vote().unwrap());
        let leader_id = LeaderId { term: vote.leader_id.term + 1, node_id: OWN };
        let nodes = BTreeMap::from([(OWN, PeerNode { peer_urls: config.peer_urls.clone() })]);
        let joint = Membership::new(vec![[OWN].into(), [OWN].into()], nodes).unwrap();
        assert_eq!(joint.get_joint_config().len(), 2);
        let log_id = LogId { leader_id, index: last.index + 1 };
        let entry = Entry { log_id, payload: Payload::Membership(joint) };
        log.force_append(Vote { leader_id, committed: false }, &entry).await.unwrap();
    }

    #[tokio::test]
    async fn the_next_leader_leaves_a_joint_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let config = single_member::config(folder.path());
        single_member::start(&config).await.stop().await;

        begin_membership_change(&config).await;
        let member = single_member::start(&config).await;
        let one = |metrics: &openraft::RaftMetrics<Types>| {
            metrics.membership_config.membership().get_joint_config().len() == 1
        };
        member.inner.raft.wait(Some(DEADLINE)).metrics(one, "one configuration").await.unwrap();
        member.propose(&Command::SetClusterVersion { version: "2.3.0".to_owned() }).await.unwrap();
        member.stop().await;
    }
}
