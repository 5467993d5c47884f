//! The configuration of a member. It reads no flags or files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::disk_metrics::DiskMetrics;
use crate::peer_metrics::PeerMetrics;

/// The machine's clocks, injected for tests. Only key expiration depends on them.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, which may be set at any time.
    fn now(&self) -> SystemTime;

    /// The monotonic clock, shared by all processes of the current boot.
    fn monotonic(&self) -> Duration;
}

/// The clocks of the operating system.
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

/// A member of a new cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialMember {
    pub id: u64,
    pub name: String,
    pub peer_urls: Vec<String>,
}

/// How a member without data starts. A member with data resumes and ignores this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Bootstraps a new cluster of these members. Each of them must be started with the same list.
    New(Vec<InitialMember>),
    /// Joins a running cluster that has already added this member. The listed members are contacted until one of them
    /// connects: a member removed before it joined learns of its removal only from them.
    Join(Vec<InitialMember>),
}

#[derive(Clone)]
pub struct MemberConfig {
    pub data_dir: PathBuf,
    /// The log's directory; `data_dir/log` by default.
    pub log_dir: Option<PathBuf>,
    pub cluster_id: u64,
    pub member_id: u64,
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub start: Start,
    /// Keep the data and remove all other members: recovery from a lost majority.
    pub force_new_cluster: bool,
    pub heartbeat: Duration,
    pub election_timeout: Duration,
    /// Applied log entries between two checkpoints.
    pub snapshot_count: u64,
    /// Entries kept behind a checkpoint for slow followers; slower ones receive a snapshot.
    pub catch_up_entries: u64,
    /// The size of a log segment. Tests use small ones.
    pub log_segment_bytes: u64,
    /// The cluster version that the first leader of a new cluster records.
    pub cluster_version: String,
    pub clock: Arc<dyn Clock>,
    pub disk_metrics: Arc<dyn DiskMetrics>,
    pub peer_metrics: Arc<dyn PeerMetrics>,
}

impl MemberConfig {
    /// The defaults of etcd 2: heartbeat 100 ms, election timeout 1,000 ms, a snapshot every 10,000 entries.
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

    /// The timeout of a proposal or a quorum read (contract 7.6).
    pub fn request_timeout(&self) -> Duration {
        crate::limits::REQUEST_TIMEOUT + 2 * self.election_timeout
    }
}
