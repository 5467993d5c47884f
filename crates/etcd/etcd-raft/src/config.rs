//! What a member is told when it starts. It must never read flags or files itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::disk_metrics::DiskMetrics;
use crate::peer_metrics::PeerMetrics;

/// The machine's clock, injected so that tests can move it. Only the ends of nodes go by it.
pub trait Clock: Send + Sync + 'static {
    /// What stands on the wall, and may be set.
    fn now(&self) -> SystemTime;

    /// Monotonic time since a fixed moment of the current boot, the same for all processes.
    fn monotonic(&self) -> Duration;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        let now = clock_gettime(ClockId::Monotonic);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
    }
}

/// One of the members a new cluster begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialMember {
    pub id: u64,
    pub name: String,
    pub peer_urls: Vec<String>,
}

/// How a member without data begins. One that has data resumes, whatever is said here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A new cluster of these members; each of them is started with the very same list.
    New(Vec<InitialMember>),
    /// This member was added to a running cluster, which will make contact. Those who are known to be in it are
    /// greeted until then: of a member that is removed before it was in, nobody else tells it.
    Join(Vec<InitialMember>),
}

#[derive(Clone)]
pub struct MemberConfig {
    pub data_dir: PathBuf,
    /// The log's own place; `data_dir/log` where none is given.
    pub log_dir: Option<PathBuf>,
    pub cluster_id: u64,
    pub member_id: u64,
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub start: Start,
    /// Keep the data, forget all other members: the way back from a lost majority.
    pub force_new_cluster: bool,
    pub heartbeat: Duration,
    pub election_timeout: Duration,
    /// Applied log entries between two checkpoints.
    pub snapshot_count: u64,
    /// Entries kept behind a checkpoint for slow followers; others get a snapshot.
    pub catch_up_entries: u64,
    /// The size of the log's files; tests take small ones.
    pub log_segment_bytes: u64,
    /// What the first leader of a new cluster records as the cluster's version.
    pub cluster_version: String,
    pub clock: Arc<dyn Clock>,
    pub disk_metrics: Arc<dyn DiskMetrics>,
    pub peer_metrics: Arc<dyn PeerMetrics>,
}

impl MemberConfig {
    /// Defaults of etcd 2: heartbeat 100 ms, election 1,000 ms, a snapshot every 10,000 entries.
    pub fn new(data_dir: PathBuf, cluster_id: u64, member_id: u64, name: &str) -> Self {
        Self {
            data_dir,
            log_dir: None,
            cluster_id,
            member_id,
            name: name.to_owned(),
            peer_urls: Vec::new(),
            client_urls: Vec::new(),
            start: Start::Join(Vec::new()),
            force_new_cluster: false,
            heartbeat: Duration::from_millis(100),
            election_timeout: Duration::from_millis(1_000),
            snapshot_count: 10_000,
            catch_up_entries: crate::limits::SNAPSHOT_CATCH_UP_ENTRIES,
            log_segment_bytes: raft_log::limits::SEGMENT_BYTES,
            cluster_version: "2.3.0".to_owned(),
            clock: Arc::new(SystemClock),
            disk_metrics: Arc::new(()),
            peer_metrics: Arc::new(()),
        }
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.log_dir.clone().unwrap_or_else(|| self.data_dir.join("log"))
    }

    /// How long a proposal or a quorum read may wait (contract 7.6).
    pub fn request_timeout(&self) -> Duration {
        crate::limits::REQUEST_TIMEOUT + 2 * self.election_timeout
    }
}
