//! The other members: links, admission and statistics. Removed members and members with a replaced disk are rejected.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::peer::handshake::{
    DISK_RECORDS_VERSION, HandshakeError, Hello, Rejection, VERSIONS, Welcome, negotiate_version,
};
use crate::peer::link::{Lane, Link, LinkHandler};
use crate::peer::link_timing::LinkTiming;
use crate::peer::message;
use crate::peer::network::{Network, Target};
use crate::peer_metrics::PeerMetrics;
use crate::status::{Latency, PeerStatus};
use crate::storage::applied::Applied;
use crate::storage::identity::{Identity, PeerDisks};
use crate::time::cluster_time::ClusterTime;
use crate::time::ticks::Ticks;

/// Why a member stopped or must be stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    #[error("the member was asked to stop")]
    Requested,
    #[error("the member has been permanently removed from the cluster")]
    Removed,
    #[error(
        "the member's data was lost or replaced: remove the member from the cluster, \
         then add it again"
    )]
    DiskReplaced,
    #[error("the member failed: {0}")]
    Failed(String),
}

/// What a member knows before it connects to others.
pub struct PeerContext {
    pub identity: Identity,
    /// The ids in the member's configuration.
    pub configured: BTreeSet<u64>,
    pub disks: PeerDisks,
}

pub struct Peers {
    context: PeerContext,
    network: Arc<dyn Network>,
    timing: LinkTiming,
    applied: Arc<Applied>,
    links: Mutex<HashMap<u64, Links>>,
    append_statistics: Mutex<BTreeMap<u64, AppendStatistics>>,
    peer_states: Mutex<BTreeMap<u64, PeerState>>,
    metrics: Arc<dyn PeerMetrics>,
    time: Arc<ClusterTime>,
    stop: watch::Sender<Option<StopReason>>,
}

/// The connections to one member.
#[derive(Clone)]
pub struct Links {
    pub urgent: Link,
    pub bulk: Link,
}

/// The last reported state of a member.
#[derive(Debug, Clone, Copy, Default)]
struct PeerState {
    /// The negotiated protocol version.
    version: u16,
    disk_full: bool,
}

/// Statistics of append requests to one member, for `/v2/stats/leader`.
#[derive(Debug, Clone, Copy, Default)]
struct AppendStatistics {
    successes: u64,
    failures: u64,
    current: f64,
    minimum: f64,
    maximum: f64,
    sum: f64,
    sum_of_squares: f64,
}

impl AppendStatistics {
    fn add(&mut self, seconds: f64) {
        self.minimum = if self.successes == 0 { seconds } else { self.minimum.min(seconds) };
        self.maximum = self.maximum.max(seconds);
        self.current = seconds;
        self.sum += seconds;
        self.sum_of_squares += seconds * seconds;
        self.successes += 1;
    }

    fn latency(&self) -> Latency {
        let count = self.successes.max(1) as f64;
        let average = self.sum / count;
        let variance = (self.sum_of_squares / count - average * average).max(0.0);
        let duration = Duration::from_secs_f64;
        Latency {
            current: duration(self.current),
            minimum: duration(self.minimum),
            maximum: duration(self.maximum),
            average: duration(average),
            deviation: duration(variance.sqrt()),
        }
    }
}

impl Peers {
    pub fn new(
        context: PeerContext,
        network: Arc<dyn Network>,
        timing: LinkTiming,
        applied: Arc<Applied>,
        metrics: Arc<dyn PeerMetrics>,
        time: Arc<ClusterTime>,
    ) -> Arc<Self> {
        Arc::new(Self {
            context,
            network,
            timing,
            applied,
            links: Mutex::default(),
            append_statistics: Mutex::default(),
            peer_states: Mutex::default(),
            metrics,
            time,
            stop: watch::Sender::new(None),
        })
    }

    pub fn identity(&self) -> &Identity {
        &self.context.identity
    }

    /// The cluster's time.
    pub fn time(&self) -> &ClusterTime {
        &self.time
    }

    /// The times that pings and other periodic work share.
    pub fn ticks(&self) -> Ticks {
        self.timing.ticks
    }

    /// The links to a member, created on first use.
    pub fn links(self: &Arc<Self>, member_id: u64, peer_urls: &[String]) -> Links {
        let mut links = self.links.lock();
        if let Some(links) = links.get(&member_id) {
            links.urgent.redirect(peer_urls);
            links.bulk.redirect(peer_urls);
            return links.clone();
        }
        let [urgent, bulk] = [Lane::Urgent, Lane::Bulk].map(|lane| self.open(lane, member_id, peer_urls));
        let new = Links { urgent, bulk };
        links.insert(member_id, new.clone());
        new
    }

    /// A separate link: a snapshot must not delay log entries.
    pub fn dedicated_link(self: &Arc<Self>, member_id: u64, peer_urls: &[String]) -> Link {
        self.open(Lane::Bulk, member_id, peer_urls)
    }

    fn open(self: &Arc<Self>, lane: Lane, member_id: u64, peer_urls: &[String]) -> Link {
        let target = Target { member_id, peer_urls: peer_urls.to_vec() };
        let handler: Arc<dyn LinkHandler> = Arc::<Self>::clone(self);
        Link::open(target, lane, Arc::clone(&self.network), handler, self.timing)
    }

    pub fn existing_links(&self, member_id: u64) -> Option<Links> {
        self.links.lock().get(&member_id).cloned()
    }

    /// Closes the links to all members that `keep` rejects.
    pub fn retain(&self, keep: impl Fn(u64) -> bool) {
        self.links.lock().retain(|id, _| keep(*id));
        self.append_statistics.lock().retain(|id, _| keep(*id));
        self.peer_states.lock().retain(|id, _| keep(*id));
    }

    pub fn close(&self) {
        self.links.lock().clear();
    }

    pub fn record_append(&self, member_id: u64, result: Result<Duration, ()>) {
        let mut append_statistics = self.append_statistics.lock();
        let append_statistics = append_statistics.entry(member_id).or_default();
        match result {
            Ok(duration) => append_statistics.add(duration.as_secs_f64()),
            Err(()) => append_statistics.failures += 1,
        }
    }

    pub fn status(&self) -> BTreeMap<u64, PeerStatus> {
        let append_statistics = self.append_statistics.lock().clone();
        let links = self.links.lock();
        links
            .iter()
            .map(|(id, links)| {
                let append_statistics = append_statistics.get(id).copied().unwrap_or_default();
                let status = PeerStatus {
                    connected: links.urgent.is_connected(),
                    successes: append_statistics.successes,
                    failures: append_statistics.failures,
                    latency: append_statistics.latency(),
                };
                (*id, status)
            })
            .collect()
    }

    /// The first reason is kept.
    pub fn stop(&self, reason: StopReason) {
        self.stop.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason);
            }
            first
        });
    }

    pub fn stopping(&self) -> watch::Receiver<Option<StopReason>> {
        self.stop.subscribe()
    }

    /// Whether the member is connected and has not reported a full disk.
    pub fn has_disk_space(&self, member_id: u64) -> bool {
        let connected = self.existing_links(member_id).is_some_and(|links| links.urgent.is_connected());
        connected && self.peer_states.lock().get(&member_id).is_some_and(|state| !state.disk_full)
    }

    /// Whether all of these members have connected and support disk records.
    pub fn support_disk_records(&self, mut members: impl Iterator<Item = u64>) -> bool {
        let peer_states = self.peer_states.lock();
        members.all(|id| peer_states.get(&id).is_some_and(|state| state.version >= DISK_RECORDS_VERSION))
    }

    /// Whether the id is configured, in raft's configuration or in the record of members. A lagging follower may not
    /// know its leader yet.
    pub fn is_known_member(&self, member: u64) -> bool {
        self.context.configured.contains(&member) || self.applied.is_member(member)
    }

    /// Whether `member` may reject this member's disk. A member without data accepts that from anyone.
    pub fn may_reject_disk(&self, member: u64) -> bool {
        self.is_known_member(member) || self.applied.has_no_members()
    }

    /// Whether `disk` is the recorded disk of `member`, in the state and locally.
    pub fn check_disk(&self, member: u64, disk: u128) -> io::Result<bool> {
        Ok(!self.applied.has_other_disk(member, disk) && self.context.disks.check_or_record(member, disk)?)
    }

    fn record_version(&self, member: u64, version: u16) {
        self.peer_states.lock().entry(member).or_default().version = version;
    }

    /// Another member has rejected `disk`.
    pub fn disk_rejected_by(&self, by: u64, disk: u128) {
        if disk == self.context.identity.disk {
            tracing::error!(by = format!("{by:x}"), "a member refuses this one's disk");
            self.stop(StopReason::DiskReplaced);
        }
    }

    /// Decides whether to accept a connection.
    pub fn admit(&self, hello: &Hello) -> Result<Welcome, Rejection> {
        let refused = |refused: Rejection| {
            let caller = format!("{:x}", hello.from);
            let cluster = format!("{:x}", hello.cluster_id);
            tracing::warn!(caller, cluster, reason = %refused, "a peer is refused");
            Err(refused)
        };
        if hello.cluster_id != self.context.identity.cluster_id {
            return refused(Rejection::WrongCluster);
        }
        if hello.to != self.context.identity.member_id {
            return refused(Rejection::WrongMember);
        }
        let Some(version) = negotiate_version(hello.versions) else {
            return refused(Rejection::Version);
        };
        if self.applied.is_removed(hello.from) {
            return refused(Rejection::Removed);
        }
        // Unknown ids are not persisted: anyone could grow the file, or claim the id of a future member.
        let accepted_disk = match self.is_known_member(hello.from) {
            true => self.check_disk(hello.from, hello.disk),
            false => Ok(!self.applied.has_other_disk(hello.from, hello.disk)),
        };
        match accepted_disk {
            Ok(true) => {
                if self.is_known_member(hello.from) {
                    self.record_version(hello.from, version);
                }
                Ok(Welcome { version, disk: self.context.identity.disk })
            }
            Ok(false) => refused(Rejection::WrongDisk),
            Err(error) => {
                tracing::error!(%error, "what disk a peer has cannot be written down");
                refused(Rejection::Unknown)
            }
        }
    }
}

impl LinkHandler for Peers {
    fn hello(&self, to: u64) -> Hello {
        Hello {
            versions: VERSIONS,
            cluster_id: self.context.identity.cluster_id,
            from: self.context.identity.member_id,
            to,
            disk: self.context.identity.disk,
        }
    }

    fn verify(&self, from: u64, welcome: Welcome) -> io::Result<()> {
        if self.check_disk(from, welcome.disk)? {
            self.record_version(from, welcome.version);
            return Ok(());
        }
        tracing::error!(
            member = format!("{from:x}"),
            "a member came back with another disk: remove it from the cluster, then add it again"
        );
        Err(io::Error::other("the member's disk was replaced"))
    }

    fn is_disk_accepted(&self, from: u64, disk: u128) -> bool {
        !self.applied.has_other_disk(from, disk)
    }

    fn pong(&self, from: u64, round_trip: Duration, contents: &[u8]) {
        self.metrics.round_trip(from, round_trip);
        let pong = message::read_pong(contents);
        self.peer_states.lock().entry(from).or_default().disk_full = !pong.has_disk_space;
        self.time.observe(from, pong.time, round_trip);
    }

    fn rejected(&self, by: u64, error: &HandshakeError) {
        let HandshakeError::Rejection(refused) = error else { return };
        let by = format!("{by:x}");
        tracing::error!(by, reason = %refused, "a member refuses this one");
        match refused {
            Rejection::Removed => self.stop(StopReason::Removed),
            Rejection::WrongDisk => self.stop(StopReason::DiskReplaced),
            _ => {}
        }
    }
}
