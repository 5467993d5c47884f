//! Histograms of the log, checkpoints, proposals and peer round trips, with the names of etcd 2 and 3.
//!
//! The HTTP front end has its own metrics.

use std::time::Duration;

use etcd_raft::{DiskMetrics, PeerMetrics};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntGauge, Registry, exponential_buckets};

/// From 0.5 ms, doubling: distinguishes good disks from bad ones on etcd's dashboards.
const FIRST_BUCKET: f64 = 0.0005;
const BUCKETS: usize = 15;
/// Round trips, as in etcd 3: from 0.1 ms to 3.3 s.
const FIRST_ROUND_TRIP: f64 = 0.0001;
const ROUND_TRIP_BUCKETS: usize = 16;

pub struct Metrics {
    registry: Registry,
    /// The same observations under two names.
    flushes: [Histogram; 2],
    checkpoints: [Histogram; 2],
    proposals: Histogram,
    round_trips: HistogramVec,
    last_index: IntGauge,
}

impl Metrics {
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let histogram = |name: &str, help: &str| {
            let buckets = exponential_buckets(FIRST_BUCKET, 2.0, BUCKETS)?;
            let made = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(made.clone()))?;
            Ok::<Histogram, prometheus::Error>(made)
        };
        let flushes = "The latency distributions of fsync called by the log.";
        let checkpoints = "The latency distributions of commits of the state to disk.";
        let last_index =
            IntGauge::new("etcd_wal_last_index_saved", "The index of the last entry saved in the log.")?;
        registry.register(Box::new(last_index.clone()))?;
        let round_trips = HistogramOpts::new(
            "etcd_network_peer_round_trip_time_seconds",
            "Round-Trip-Time histogram between peers.",
        );
        let buckets = exponential_buckets(FIRST_ROUND_TRIP, 2.0, ROUND_TRIP_BUCKETS)?;
        let round_trips = HistogramVec::new(round_trips.buckets(buckets), &["To"])?;
        registry.register(Box::new(round_trips.clone()))?;
        Ok(Self {
            flushes: [
                histogram("etcd_wal_fsync_durations_seconds", flushes)?,
                histogram("etcd_disk_wal_fsync_duration_seconds", flushes)?,
            ],
            checkpoints: [
                histogram("etcd_snapshot_save_total_durations_seconds", checkpoints)?,
                histogram("etcd_disk_backend_commit_duration_seconds", checkpoints)?,
            ],
            proposals: histogram(
                "etcd_server_proposal_durations_seconds",
                "The latency distributions of committing a proposal.",
            )?,
            round_trips,
            last_index,
            registry,
        })
    }

    /// A handle to the same registry.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    pub fn proposed(&self, took: Duration) {
        self.proposals.observe(took.as_secs_f64());
    }
}

impl DiskMetrics for Metrics {
    fn log_flushed(&self, took: Duration, last: Option<u64>) {
        self.flushes.iter().for_each(|histogram| histogram.observe(took.as_secs_f64()));
        if let Some(last) = last.and_then(|index| i64::try_from(index).ok()) {
            self.last_index.set(last);
        }
    }

    fn checkpoint_committed(&self, took: Duration) {
        self.checkpoints.iter().for_each(|histogram| histogram.observe(took.as_secs_f64()));
    }
}

impl PeerMetrics for Metrics {
    fn round_trip(&self, to: u64, took: Duration) {
        self.round_trips.with_label_values(&[&format!("{to:x}")]).observe(took.as_secs_f64());
    }
}
