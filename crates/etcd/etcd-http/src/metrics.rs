//! `/metrics`: Prometheus text 0.0.4, with etcd's metric names.
//!
//! Request counters are kept here; values of the store and the log are read at each scrape.

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

/// Request counters, and gauges that are set at a scrape.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Other registries, such as those of the log and the network.
    external: Vec<Registry>,
    by_method: Vec<(RequestKind, ByMethod)>,
    failed: IntCounterVec,
    watch_requests: IntCounter,
    gauges: ScrapeGauges,
}

/// The request kinds of the keys API, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Get,
    /// A linearizable GET.
    QuorumGet,
    Head,
    Put,
    Post,
    Delete,
}

impl RequestKind {
    const ALL: [RequestKind; 6] = [
        RequestKind::Get,
        RequestKind::QuorumGet,
        RequestKind::Head,
        RequestKind::Put,
        RequestKind::Post,
        RequestKind::Delete,
    ];

    pub(crate) fn of(method: Method, quorum: bool) -> RequestKind {
        match method {
            Method::Get if quorum => RequestKind::QuorumGet,
            Method::Get => RequestKind::Get,
            Method::Head => RequestKind::Head,
            Method::Put => RequestKind::Put,
            Method::Post => RequestKind::Post,
            Method::Delete => RequestKind::Delete,
        }
    }

    fn label(self) -> &'static str {
        match self {
            RequestKind::Get => "GET",
            RequestKind::QuorumGet => "QGET",
            RequestKind::Head => "HEAD",
            RequestKind::Put => "PUT",
            RequestKind::Post => "POST",
            RequestKind::Delete => "DELETE",
        }
    }
}

#[derive(Debug)]
struct ByMethod {
    received: IntCounter,
    seconds: Histogram,
}

/// Gauges that are set at a scrape.
#[derive(Debug)]
struct ScrapeGauges {
    reads: GaugeVec,
    writes: GaugeVec,
    gauges: Vec<(GaugeKind, Gauge)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GaugeKind {
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

const GAUGES: &[(GaugeKind, &str, &str)] = &[
    (GaugeKind::Expires, "etcd_store_expires_total", "Total number of expired keys."),
    (GaugeKind::Watchers, "etcd_store_watchers", "Count of currently active watchers."),
    (
        GaugeKind::HasLeader,
        "etcd_server_has_leader",
        "Whether or not a leader exists. 1 is existence, 0 is not.",
    ),
    (GaugeKind::LeaderChanges, "etcd_server_leader_changes_seen_total", "The number of leader changes seen."),
    (
        GaugeKind::Committed,
        "etcd_server_proposals_committed_total",
        "The total number of consensus proposals committed.",
    ),
    (
        GaugeKind::Applied,
        "etcd_server_proposals_applied_total",
        "The total number of consensus proposals applied.",
    ),
    (GaugeKind::Failed, "etcd_server_proposals_failed_total", "The total number of failed proposals seen."),
    (GaugeKind::FailedOld, "etcd_server_proposal_failed_total", "The total number of failed proposals."),
    (
        GaugeKind::Pending,
        "etcd_server_proposals_pending",
        "The current number of pending proposals to commit.",
    ),
    (GaugeKind::PendingOld, "etcd_server_pending_proposal_total", "The total number of pending proposals."),
    (
        GaugeKind::DatabaseBytes,
        "etcd_mvcc_db_total_size_in_bytes",
        "Total size of the state on disk in bytes.",
    ),
    (
        GaugeKind::FilesUsed,
        "etcd_server_file_descriptors_used_total",
        "The total number of file descriptors used.",
    ),
    (GaugeKind::ProcessCpu, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds."),
    (GaugeKind::ProcessFiles, "process_open_fds", "Number of open file descriptors."),
    (GaugeKind::ProcessFileLimit, "process_max_fds", "Maximum number of open file descriptors."),
    (GaugeKind::ProcessResident, "process_resident_memory_bytes", "Resident memory size in bytes."),
    (GaugeKind::ProcessVirtual, "process_virtual_memory_bytes", "Virtual memory size in bytes."),
    (
        GaugeKind::ProcessStart,
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
    ),
];

/// Gauges that are exported as counters, since they only increase.
fn is_counter(single: GaugeKind) -> bool {
    use GaugeKind::*;
    matches!(single, Expires | LeaderChanges | Committed | Applied | Failed | FailedOld | ProcessCpu)
}

impl Metrics {
    /// `external`: registries of the log, disk and network to include.
    pub fn new(external: Vec<Registry>) -> Result<Arc<Metrics>, prometheus::Error> {
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
        let by_method = RequestKind::ALL.map(|kind| {
            let labels = [kind.label()];
            let received = received.with_label_values(&labels);
            (kind, ByMethod { received, seconds: seconds.with_label_values(&labels) })
        });
        let gauges = ScrapeGauges::new(&registry)?;
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
        Ok(Arc::new(Metrics { registry, external, by_method, failed, watch_requests, gauges }))
    }

    fn of(&self, kind: RequestKind) -> Option<&ByMethod> {
        self.by_method.iter().find(|(one, _)| *one == kind).map(|(_, found)| found)
    }

    pub(crate) fn received(&self, kind: RequestKind) {
        if let Some(found) = self.of(kind) {
            found.received.inc();
        }
    }

    pub(crate) fn succeeded(&self, kind: RequestKind, duration: Duration) {
        if let Some(found) = self.of(kind) {
            found.seconds.observe(duration.as_secs_f64());
        }
    }

    pub(crate) fn failed(&self, kind: RequestKind, status: u16) {
        self.failed.with_label_values(&[status.to_string().as_str(), kind.label()]).inc();
    }

    pub(crate) fn watch_requested(&self) {
        self.watch_requests.inc();
    }

    /// Renders all metrics.
    pub(crate) fn text(
        &self,
        store: &StoreStatistics,
        watchers: u64,
        status: &Status,
    ) -> Result<Vec<u8>, prometheus::Error> {
        self.gauges.fill(store, watchers, status);
        let mut families = self.registry.gather();
        for family in &mut families {
            let single = GAUGES.iter().find(|(_, name, _)| *name == family.name());
            let labelled = ["etcd_store_reads_total", "etcd_store_writes_total"].contains(&family.name());
            if labelled || single.is_some_and(|(single, ..)| is_counter(*single)) {
                mark_as_counter(family);
            }
        }
        for other in &self.external {
            families.extend(other.gather());
        }
        families.sort_by(|one, other| one.name().cmp(other.name()));
        let mut page = Vec::with_capacity(16 << 10);
        TextEncoder::new().encode(&families, &mut page)?;
        Ok(page)
    }
}

/// Exports a gauge family as a counter.
fn mark_as_counter(family: &mut prometheus::proto::MetricFamily) {
    family.set_field_type(prometheus::proto::MetricType::COUNTER);
    for metric in family.mut_metric() {
        let mut counter = prometheus::proto::Counter::default();
        counter.set_value(metric.get_gauge().get_value());
        metric.set_counter(counter);
    }
}

impl ScrapeGauges {
    fn new(registry: &Registry) -> Result<ScrapeGauges, prometheus::Error> {
        let labelled = |name: &str, help: &str| {
            let gauges = GaugeVec::new(Opts::new(name, help), &["action"])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<GaugeVec, prometheus::Error>(gauges)
        };
        let reads =
            labelled("etcd_store_reads_total", "Total number of reads action by (get/getRecursive).")?;
        let writes =
            labelled("etcd_store_writes_total", "Total number of writes (e.g. set/compareAndDelete).")?;
        let mut gauges = Vec::with_capacity(GAUGES.len());
        for (single, name, help) in GAUGES {
            let gauge = Gauge::new(*name, *help)?;
            registry.register(Box::new(gauge.clone()))?;
            gauges.push((*single, gauge));
        }
        Ok(ScrapeGauges { reads, writes, gauges })
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
        for (single, gauge) in &self.gauges {
            gauge.set(match single {
                GaugeKind::Expires => store.expire_count as f64,
                GaugeKind::Watchers => watchers as f64,
                GaugeKind::HasLeader => f64::from(u8::from(status.leader.is_some())),
                GaugeKind::LeaderChanges => status.leader_changes as f64,
                GaugeKind::Committed => status.committed as f64,
                GaugeKind::Applied => status.position.index as f64,
                GaugeKind::Failed | GaugeKind::FailedOld => status.proposals_failed as f64,
                GaugeKind::Pending | GaugeKind::PendingOld => status.proposals_pending as f64,
                GaugeKind::DatabaseBytes => status.database_bytes as f64,
                GaugeKind::FilesUsed | GaugeKind::ProcessFiles => process.open_files as f64,
                GaugeKind::ProcessCpu => process.cpu_seconds,
                GaugeKind::ProcessFileLimit => process.file_limit as f64,
                GaugeKind::ProcessResident => process.resident_bytes as f64,
                GaugeKind::ProcessVirtual => process.virtual_bytes as f64,
                GaugeKind::ProcessStart => process.started,
            });
        }
    }
}
