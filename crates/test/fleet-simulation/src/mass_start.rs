//! Measures the concurrent start of all units of a cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_core::JobState;
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use tokio::time::{Instant, sleep};
use unit_file::{UnitFile, UnitName};

use crate::memory::MemoryStore;
use crate::request_kind::RequestKind;
use crate::{cluster, in_virtual_time};

type Cluster = cluster::Cluster<MemoryStore>;

/// Concurrent requests of clients.
const CLIENTS: usize = 64;
/// Until all machines have registered and heartbeats are spread out.
const SETTLED: Duration = Duration::from_secs(40);
/// Idle time before the start, to measure an idle cluster.
const IDLE: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(600);

/// Results. Times are virtual, except CPU time.
pub struct Measurement {
    pub units: usize,
    /// Requests to the store until all units are reported active.
    pub requests: BTreeMap<RequestKind, u64>,
    /// Until the last client request returned.
    pub submitted: Duration,
    /// Until one node has observed that all units are active.
    pub converged: Duration,
    /// CPU time of all machines and the store.
    pub cpu_time: Duration,
    /// Requests during one idle minute before, without running units.
    pub idle: BTreeMap<RequestKind, u64>,
}

impl Measurement {
    /// Requests of these kinds per unit.
    pub fn requests_per_unit(&self, kinds: &[RequestKind]) -> f64 {
        let sum: u64 = kinds.iter().filter_map(|kind| self.requests.get(kind)).sum();
        sum as f64 / self.units as f64
    }
}

/// Runs one history.
pub fn measure(machines: usize, units: usize) -> Measurement {
    in_virtual_time(async {
        let mut cluster = Cluster::unstarted(machines, 7);
        let names = create_units(&mut cluster, units).await;
        for number in 1..machines {
            cluster.start(number);
            // Machines do not boot at the same moment.
            sleep(Duration::from_millis(7)).await;
        }
        sleep(SETTLED).await;
        let before = cluster.service.requests();
        sleep(IDLE).await;
        let idle = since(&before, &cluster.service.requests());
        start_units(&cluster, &names, idle).await
    })
}

/// Created before the other machines start, so that these read the units instead of receiving an event for each.
async fn create_units(cluster: &mut Cluster, units: usize) -> Vec<UnitName> {
    cluster.start(0);
    sleep(SETTLED).await;
    let requests = cluster.hosts[0].node.as_ref().unwrap().requests();
    let file = UnitFile::from_text("[Service]\nExecStart=/bin/sleep 9\n").unwrap();
    let names: Vec<UnitName> =
        (0..units).map(|number| UnitName::parse(&format!("unit{number}.service")).unwrap()).collect();
    for name in &names {
        requests.create(name, &file, JobState::Inactive).await.unwrap();
    }
    names
}

async fn start_units(cluster: &Cluster, names: &[UnitName], idle: BTreeMap<RequestKind, u64>) -> Measurement {
    let (before, started, cpu_time) = (cluster.service.requests(), Instant::now(), thread_cpu_time());
    let submissions = async {
        let requests = cluster.hosts[0].node.as_ref().unwrap().requests();
        let submit_one = async |name| requests.set_desired(name, JobState::Launched).await.unwrap();
        iter(names).map(submit_one).buffer_unordered(CLIENTS).collect::<Vec<()>>().await;
        started.elapsed()
    };
    let converged = async {
        while cluster.ledger.count() < names.len() || !all_reported_active(cluster, names) {
            sleep(Duration::from_millis(50)).await;
            let (run, all) = (cluster.ledger.count(), names.len());
            assert!(started.elapsed() < TIMEOUT, "{run} of {all} run after {TIMEOUT:?}");
        }
        started.elapsed()
    };
    let (submitted, converged) = tokio::join!(submissions, converged);
    assert_eq!(cluster.faults(), Vec::<String>::new());
    Measurement {
        units: names.len(),
        requests: since(&before, &cluster.service.requests()),
        submitted,
        converged,
        cpu_time: thread_cpu_time().saturating_sub(cpu_time),
        idle,
    }
}

fn all_reported_active(cluster: &Cluster, names: &[UnitName]) -> bool {
    let node = cluster.hosts[0].node.as_ref().unwrap();
    node.registry().with_view(|view| {
        let active = view.states().filter(|(_, state)| state.active == "active").count();
        active == names.len()
    })
}

fn since(
    before: &BTreeMap<RequestKind, u64>,
    after: &BTreeMap<RequestKind, u64>,
) -> BTreeMap<RequestKind, u64> {
    let grown = |(kind, count): (&RequestKind, &u64)| (*kind, count - before.get(kind).unwrap_or(&0));
    after.iter().map(grown).collect()
}

/// CPU time of this thread, which runs the whole simulation.
pub fn thread_cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}
