//! The other members as this one reaches them: links to each, who may be talked to, and what was
//! measured. It must never talk to a removed member, or to one whose disk was replaced.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::applied::Applied;
use crate::cluster_time::ClusterTime;
use crate::identity::{Identity, PeerDisks};
use crate::peer::hello::{Hello, HelloError, Refused, VERSION_OF_DISKS, VERSIONS, Welcome, common_version};
use crate::peer::link::{Gate, Lane, Link, Pace};
use crate::peer::message;
use crate::peer::network::{Network, Target};
use crate::peer_times::PeerTimes;
use crate::status::{Latency, PeerStatus};

/// Why a member stopped, or must be stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    #[error("the member was asked to stop")]
    Asked,
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

/// What a member knows of itself and of others before it connects to any.
pub struct Known {
    pub identity: Identity,
    /// The members in its configuration.
    pub listed: BTreeSet<u64>,
    pub disks: PeerDisks,
}

pub struct Peers {
    known: Known,
    network: Arc<dyn Network>,
    pace: Pace,
    applied: Arc<Applied>,
    links: Mutex<HashMap<u64, Links>>,
    measured: Mutex<BTreeMap<u64, Measured>>,
    told: Mutex<BTreeMap<u64, Told>>,
    times: Arc<dyn PeerTimes>,
    time: Arc<ClusterTime>,
    stop: watch::Sender<Option<StopReason>>,
}

/// The connections to one member.
#[derive(Clone)]
pub struct Links {
    pub urgent: Link,
    pub bulk: Link,
}

/// What a member said of itself when it was last heard.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// The version that both speak.
    version: u16,
    has_no_room: bool,
}

/// Append requests to one member: what `/v2/stats/leader` shows.
#[derive(Debug, Clone, Copy, Default)]
struct Measured {
    successes: u64,
    failures: u64,
    current: f64,
    minimum: f64,
    maximum: f64,
    sum: f64,
    sum_of_squares: f64,
}

impl Measured {
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
        known: Known,
        network: Arc<dyn Network>,
        pace: Pace,
        applied: Arc<Applied>,
        times: Arc<dyn PeerTimes>,
        time: Arc<ClusterTime>,
    ) -> Arc<Self> {
        Arc::new(Self {
            known,
            network,
            pace,
            applied,
            links: Mutex::default(),
            measured: Mutex::default(),
            told: Mutex::default(),
            times,
            time,
            stop: watch::Sender::new(None),
        })
    }

    pub fn identity(&self) -> &Identity {
        &self.known.identity
    }

    /// The time that all members go by.
    pub fn time(&self) -> &ClusterTime {
        &self.time
    }

    /// The links to a member, made when they are first asked for.
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

    /// A link beside the shared ones: a snapshot must not hold up log entries either.
    pub fn own_link(self: &Arc<Self>, member_id: u64, peer_urls: &[String]) -> Link {
        self.open(Lane::Bulk, member_id, peer_urls)
    }

    fn open(self: &Arc<Self>, lane: Lane, member_id: u64, peer_urls: &[String]) -> Link {
        let target = Target { member_id, peer_urls: peer_urls.to_vec() };
        let gate: Arc<dyn Gate> = Arc::<Self>::clone(self);
        Link::open(target, lane, Arc::clone(&self.network), gate, self.pace)
    }

    pub fn known_links(&self, member_id: u64) -> Option<Links> {
        self.links.lock().get(&member_id).cloned()
    }

    /// Closes the links to all but `members`.
    pub fn retain(&self, members: impl Fn(u64) -> bool) {
        self.links.lock().retain(|id, _| members(*id));
        self.measured.lock().retain(|id, _| members(*id));
        self.told.lock().retain(|id, _| members(*id));
    }

    pub fn close(&self) {
        self.links.lock().clear();
    }

    pub fn measured(&self, member_id: u64, result: Result<Duration, ()>) {
        let mut measured = self.measured.lock();
        let measured = measured.entry(member_id).or_default();
        match result {
            Ok(duration) => measured.add(duration.as_secs_f64()),
            Err(()) => measured.failures += 1,
        }
    }

    pub fn status(&self) -> BTreeMap<u64, PeerStatus> {
        let measured = self.measured.lock().clone();
        let links = self.links.lock();
        links
            .iter()
            .map(|(id, links)| {
                let measured = measured.get(id).copied().unwrap_or_default();
                let status = PeerStatus {
                    connected: links.urgent.is_connected(),
                    successes: measured.successes,
                    failures: measured.failures,
                    latency: measured.latency(),
                };
                (*id, status)
            })
            .collect()
    }

    /// The first reason stays.
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

    /// Whether this member is connected to `member_id`, and was not told that its disk is full.
    pub fn has_room(&self, member_id: u64) -> bool {
        let connected = self.known_links(member_id).is_some_and(|links| links.urgent.is_connected());
        connected && self.told.lock().get(&member_id).is_some_and(|told| !told.has_no_room)
    }

    /// Whether each of these was met, and knows of the disks in the state.
    pub fn know_disks(&self, mut members: impl Iterator<Item = u64>) -> bool {
        let told = self.told.lock();
        members.all(|id| told.get(&id).is_some_and(|told| told.version >= VERSION_OF_DISKS))
    }

    /// Whether this id is in the configuration, in raft's membership or in the record of members. A lagging follower may not
    /// know its leader yet.
    pub fn is_known(&self, member: u64) -> bool {
        self.known.listed.contains(&member) || self.applied.is_member(member)
    }

    /// Whether a refusal of this member's disk by `member` is accepted. A member without data accepts it from anyone.
    pub fn may_refuse(&self, member: u64) -> bool {
        self.is_known(member) || self.applied.has_no_members()
    }

    /// Whether `disk` is the one that `member` is recorded with, and that this member met it with.
    pub fn meet(&self, member: u64, disk: u128) -> io::Result<bool> {
        Ok(!self.applied.has_other_disk(member, disk) && self.known.disks.meet(member, disk)?)
    }

    fn met(&self, member: u64, version: u16) {
        self.told.lock().entry(member).or_default().version = version;
    }

    /// Another member does not talk to `disk`.
    pub fn told_of_other_disk(&self, by: u64, disk: u128) {
        if disk == self.known.identity.disk {
            tracing::error!(by = format!("{by:x}"), "a member refuses this one's disk");
            self.stop(StopReason::DiskReplaced);
        }
    }

    /// Whether a caller may be talked to.
    pub fn admit(&self, hello: &Hello) -> Result<Welcome, Refused> {
        let refused = |refused: Refused| {
            let caller = format!("{:x}", hello.from);
            let cluster = format!("{:x}", hello.cluster_id);
            tracing::warn!(caller, cluster, reason = %refused, "a peer is refused");
            Err(refused)
        };
        if hello.cluster_id != self.known.identity.cluster_id {
            return refused(Refused::OtherCluster);
        }
        if hello.to != self.known.identity.member_id {
            return refused(Refused::OtherMember);
        }
        let Some(version) = common_version(hello.versions) else {
            return refused(Refused::Version);
        };
        if self.applied.is_gone(hello.from) {
            return refused(Refused::Removed);
        }
        // Unknown ids are not persisted: anyone could grow the file, or occupy the id of a future member.
        let met = match self.is_known(hello.from) {
            true => self.meet(hello.from, hello.disk),
            false => Ok(!self.applied.has_other_disk(hello.from, hello.disk)),
        };
        match met {
            Ok(true) => {
                if self.is_known(hello.from) {
                    self.met(hello.from, version);
                }
                Ok(Welcome { version, disk: self.known.identity.disk })
            }
            Ok(false) => refused(Refused::OtherDisk),
            Err(error) => {
                tracing::error!(%error, "what disk a peer has cannot be written down");
                refused(Refused::Unknown)
            }
        }
    }
}

impl Gate for Peers {
    fn hello(&self, to: u64) -> Hello {
        Hello {
            versions: VERSIONS,
            cluster_id: self.known.identity.cluster_id,
            from: self.known.identity.member_id,
            to,
            disk: self.known.identity.disk,
        }
    }

    fn welcome(&self, from: u64, welcome: Welcome) -> io::Result<()> {
        if self.meet(from, welcome.disk)? {
            self.met(from, welcome.version);
            return Ok(());
        }
        tracing::error!(
            member = format!("{from:x}"),
            "a member came back with another disk: remove it from the cluster, then add it again"
        );
        Err(io::Error::other("the member's disk was replaced"))
    }

    fn still_welcome(&self, from: u64, disk: u128) -> bool {
        !self.applied.has_other_disk(from, disk)
    }

    fn pong(&self, from: u64, took: Duration, said: &[u8]) {
        self.times.round_trip(from, took);
        let said = message::read_ping_answer(said);
        self.told.lock().entry(from).or_default().has_no_room = !said.has_room;
        self.time.hear(from, said.time, took);
    }

    fn refused(&self, by: u64, error: &HelloError) {
        let HelloError::Refused(refused) = error else { return };
        let by = format!("{by:x}");
        tracing::error!(by, reason = %refused, "a member refuses this one");
        match refused {
            Refused::Removed => self.stop(StopReason::Removed),
            Refused::OtherDisk => self.stop(StopReason::DiskReplaced),
            _ => {}
        }
    }
}
