//! `/metrics`: Prometheus text 0.0.4, under the names that dashboards and alert rules know.
//!
//! Counters of requests are counted here; the store's and the log's numbers are asked for at each scrape.

use std::sync::Arc;
use std::time::Duration;

use etcd_api::{Method, StoreStatistics};
use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts,
    Registry, TextEncoder,
};

use crate::backend::Status;
use crate::process;

/// What the front counts, and the gauges that a scrape fills.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Registered by others, as the log's and the network's histograms.
    others: Vec<Registry>,
    by_method: Vec<(Kind, ByMethod)>,
    failed: IntCounterVec,
    watch_requests: IntCounter,
    scraped: Scraped,
}

/// One way to ask for a key, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    /// A linearizable GET.
    QuorumGet,
    Head,
    Put,
    Post,
    Delete,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Get, Kind::QuorumGet, Kind::Head, Kind::Put, Kind::Post, Kind::Delete];

    pub(crate) fn of(method: Method, quorum: bool) -> Kind {
        match method {
            Method::Get if quorum => Kind::QuorumGet,
            Method::Get => Kind::Get,
            Method::Head => Kind::Head,
            Method::Put => Kind::Put,
            Method::Post => Kind::Post,
            Method::Delete => Kind::Delete,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Kind::Get => "GET",
            Kind::QuorumGet => "QGET",
            Kind::Head => "HEAD",
            Kind::Put => "PUT",
            Kind::Post => "POST",
            Kind::Delete => "DELETE",
        }
    }
}

#[derive(Debug)]
struct ByMethod {
    received: IntCounter,
    seconds: Histogram,
}

/// Gauges without memory of their own.
#[derive(Debug)]
struct Scraped {
    reads: GaugeVec,
    writes: GaugeVec,
    singles: Vec<(Single, Gauge)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Single {
    Expires,
    Watchers,
    HasLeader,
    LeaderChanges,
    Committed,
    Applied,
    Failed,
    FailedOld,
    Pending,
    PendingOld,
    DatabaseBytes,
    FilesUsed,
    ProcessCpu,
    ProcessFiles,
    ProcessFileLimit,
    ProcessResident,
    ProcessVirtual,
    ProcessStart,
}

const SINGLES: &[(Single, &str, &str)] = &[
    (Single::Expires, "etcd_store_expires_total", "Total number of expired keys."),
    (Single::Watchers, "etcd_store_watchers", "Count of currently active watchers."),
    (
        Single::HasLeader,
        "etcd_server_has_leader",
        "Whether or not a leader exists. 1 is existence, 0 is not.",
    ),
    (Single::LeaderChanges, "etcd_server_leader_changes_seen_total", "The number of leader changes seen."),
    (
        Single::Committed,
        "etcd_server_proposals_committed_total",
        "The total number of consensus proposals committed.",
    ),
    (
        Single::Applied,
        "etcd_server_proposals_applied_total",
        "The total number of consensus proposals applied.",
    ),
    (Single::Failed, "etcd_server_proposals_failed_total", "The total number of failed proposals seen."),
    (Single::FailedOld, "etcd_server_proposal_failed_total", "The total number of failed proposals."),
    (Single::Pending, "etcd_server_proposals_pending", "The current number of pending proposals to commit."),
    (Single::PendingOld, "etcd_server_pending_proposal_total", "The total number of pending proposals."),
    (Single::DatabaseBytes, "etcd_mvcc_db_total_size_in_bytes", "Total size of the state on disk in bytes."),
    (
        Single::FilesUsed,
        "etcd_server_file_descriptors_used_total",
        "The total number of file descriptors used.",
    ),
    (Single::ProcessCpu, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds."),
    (Single::ProcessFiles, "process_open_fds", "Number of open file descriptors."),
    (Single::ProcessFileLimit, "process_max_fds", "Maximum number of open file descriptors."),
    (Single::ProcessResident, "process_resident_memory_bytes", "Resident memory size in bytes."),
    (Single::ProcessVirtual, "process_virtual_memory_bytes", "Virtual memory size in bytes."),
    (
        Single::ProcessStart,
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
    ),
];

/// Counters that only ever grow, though a scrape sets them: named so in the text.
fn counts(single: Single) -> bool {
    use Single::*;
    matches!(single, Expires | LeaderChanges | Committed | Applied | Failed | FailedOld | ProcessCpu)
}

impl Metrics {
    /// `others`: registries of the log, the disk and the network, whose metrics are shown too.
    pub fn new(others: Vec<Registry>) -> Result<Arc<Metrics>, prometheus::Error> {
        let registry = Registry::new();
        let received = IntCounterVec::new(
            Opts::new("etcd_http_received_total", "Counter of requests received into the system."),
            &["method"],
        )?;
        let failed = IntCounterVec::new(
            Opts::new(
                "etcd_http_failed_total",
                "Counter of handle failures of requests, by method and code.",
            ),
            &["code", "method"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "etcd_http_successful_duration_second",
                "Bucketed histogram of processing time (s) of successfully handled requests.",
            )
            .buckets(prometheus::exponential_buckets(0.0005, 2.0, 13)?),
            &["method"],
        )?;
        let watch_requests =
            IntCounter::new("etcd_store_watch_requests_total", "Total number of incoming watch requests.")?;
        let by_method = Kind::ALL.map(|kind| {
            let labels = [kind.label()];
            let received = received.with_label_values(&labels);
            (kind, ByMethod { received, seconds: seconds.with_label_values(&labels) })
        });
        let scraped = Scraped::new(&registry)?;
        let own: [Box<dyn Collector>; 4] = [
            Box::new(received),
            Box::new(failed.clone()),
            Box::new(seconds),
            Box::new(watch_requests.clone()),
        ];
        for collector in own {
            registry.register(collector)?;
        }
        let by_method = by_method.into_iter().collect();
        Ok(Arc::new(Metrics { registry, others, by_method, failed, watch_requests, scraped }))
    }

    fn of(&self, kind: Kind) -> Option<&ByMethod> {
        self.by_method.iter().find(|(one, _)| *one == kind).map(|(_, found)| found)
    }

    pub(crate) fn received(&self, kind: Kind) {
        if let Some(found) = self.of(kind) {
            found.received.inc();
        }
    }

    pub(crate) fn succeeded(&self, kind: Kind, took: Duration) {
        if let Some(found) = self.of(kind) {
            found.seconds.observe(took.as_secs_f64());
        }
    }

    pub(crate) fn failed(&self, kind: Kind, status: u16) {
        self.failed.with_label_values(&[status.to_string().as_str(), kind.label()]).inc();
    }

    pub(crate) fn watch_requested(&self) {
        self.watch_requests.inc();
    }

    /// The page.
    pub(crate) fn text(
        &self,
        store: &StoreStatistics,
        watchers: u64,
        status: &Status,
    ) -> Result<Vec<u8>, prometheus::Error> {
        self.scraped.fill(store, watchers, status);
        let mut families = self.registry.gather();
        for family in &mut families {
            let single = SINGLES.iter().find(|(_, name, _)| *name == family.name());
            let labelled = ["etcd_store_reads_total", "etcd_store_writes_total"].contains(&family.name());
            if labelled || single.is_some_and(|(single, ..)| counts(*single)) {
                counter_family(family);
            }
        }
        for other in &self.others {
            families.extend(other.gather());
        }
        families.sort_by(|one, other| one.name().cmp(other.name()));
        let mut page = Vec::with_capacity(16 << 10);
        TextEncoder::new().encode(&families, &mut page)?;
        Ok(page)
    }
}

/// Says that a family set by a scrape is a counter.
fn counter_family(family: &mut prometheus::proto::MetricFamily) {
    family.set_field_type(prometheus::proto::MetricType::COUNTER);
    for metric in family.mut_metric() {
        let mut counter = prometheus::proto::Counter::default();
        counter.set_value(metric.get_gauge().get_value());
        metric.set_counter(counter);
    }
}

impl Scraped {
    fn new(registry: &Registry) -> Result<Scraped, prometheus::Error> {
        let labelled = |name: &str, help: &str| {
            let gauges = GaugeVec::new(Opts::new(name, help), &["action"])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<GaugeVec, prometheus::Error>(gauges)
        };
        let reads =
            labelled("etcd_store_reads_total", "Total number of reads action by (get/getRecursive).")?;
        let writes =
            labelled("etcd_store_writes_total", "Total number of writes (e.g. set/compareAndDelete).")?;
        let mut singles = Vec::with_capacity(SINGLES.len());
        for (single, name, help) in SINGLES {
            let gauge = Gauge::new(*name, *help)?;
            registry.register(Box::new(gauge.clone()))?;
            singles.push((*single, gauge));
        }
        Ok(Scraped { reads, writes, singles })
    }

    fn fill(&self, store: &StoreStatistics, watchers: u64, status: &Status) {
        self.reads.with_label_values(&["get"]).set(store.gets_success as f64);
        let writes = [
            ("set", store.sets_success),
            ("create", store.create_success),
            ("update", store.update_success),
            ("delete", store.delete_success),
            ("compareAndSwap", store.compare_and_swap_success),
            ("compareAndDelete", store.compare_and_delete_success),
        ];
        for (action, count) in writes {
            self.writes.with_label_values(&[action]).set(count as f64);
        }
        let process = process::Usage::now();
        for (single, gauge) in &self.singles {
            gauge.set(match single {
                Single::Expires => store.expire_count as f64,
                Single::Watchers => watchers as f64,
                Single::HasLeader => f64::from(u8::from(status.leader.is_some())),
                Single::LeaderChanges => status.leader_changes as f64,
                Single::Committed => status.committed as f64,
                Single::Applied => status.position.index as f64,
                Single::Failed | Single::FailedOld => status.proposals_failed as f64,
                Single::Pending | Single::PendingOld => status.proposals_pending as f64,
                Single::DatabaseBytes => status.database_bytes as f64,
                Single::FilesUsed | Single::ProcessFiles => process.open_files as f64,
                Single::ProcessCpu => process.cpu_seconds,
                Single::ProcessFileLimit => process.file_limit as f64,
                Single::ProcessResident => process.resident_bytes as f64,
                Single::ProcessVirtual => process.virtual_bytes as f64,
                Single::ProcessStart => process.started,
            });
        }
    }
}
