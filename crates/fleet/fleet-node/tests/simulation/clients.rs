//! Client requests while the store does not respond.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use fleet_core::{Cordon, JobState, MachineId};
use fleet_node::{Requests, StoreError};
use fleet_simulation::memory::MemoryLink;
use fleet_simulation::{Service as _, in_virtual_time};
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use unit_file::{UnitFile, UnitName};

use crate::Cluster;

const UNITS: usize = 3;
/// Longer than the timeout of one request to the store, as with a disk that is slow for a moment.
const OUTAGE: Duration = Duration::from_millis(1500);
/// fleetctl's timeout.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(3);

fn requests(cluster: &Cluster) -> Requests<MemoryLink> {
    cluster.hosts[0].node.as_ref().unwrap().requests()
}

async fn through(
    cluster: &Cluster,
    outage: fn(&Cluster, bool),
    submitted: impl Future<Output = Result<(), StoreError>>,
) {
    let started = Instant::now();
    outage(cluster, true);
    let (outcome, ()) = tokio::join!(submitted, async {
        sleep(OUTAGE).await;
        outage(cluster, false);
    });
    assert_eq!(outcome, Ok(()));
    assert!(started.elapsed() < CLIENT_TIMEOUT, "{:?}", started.elapsed());
}

fn run(test: impl AsyncFnOnce(Cluster)) {
    in_virtual_time(async { test(Cluster::running(3, UNITS).await).await });
}

/// Each request once through an outage. Its effect must be visible here `known_after` its response.
async fn each(cluster: &Cluster, outage: fn(&Cluster, bool), known_after: Duration) {
    let requests = requests(cluster);
    let machine = MachineId::new(&cluster.hosts[1].id);
    let name = UnitName::parse("late.service").unwrap();
    let file = UnitFile::from_text("[Service]\nExecStart=/bin/true\n").unwrap();
    let desired = async || {
        sleep(known_after).await;
        requests.registry.with_view(|view| view.unit(&name).map(|unit| unit.desired))
    };
    through(cluster, outage, requests.create(&name, &file, JobState::Inactive)).await;
    assert_eq!(desired().await, Some(JobState::Inactive));
    through(cluster, outage, requests.set_desired(&name, JobState::Loaded)).await;
    assert_eq!(desired().await, Some(JobState::Loaded));
    through(cluster, outage, requests.destroy(&name)).await;
    assert_eq!(desired().await, None);
    for cordon in [Cordon::Cordoned, Cordon::Open] {
        through(cluster, outage, requests.set_cordon(&machine, cordon)).await;
    }
    let again = requests.destroy(&name).await;
    assert!(matches!(again, Err(StoreError::Rejected(_))), "{again:?}");
    assert_eq!(cluster.faults(), Vec::<String>::new());
}

#[test]
fn lost_requests_are_retried() {
    // The watch was cut off as well, and needs time to resume.
    run(async |cluster| each(&cluster, |cluster, on| cluster.service.set_down(on), CLIENT_TIMEOUT).await);
}

#[test]
fn lost_responses_are_retried_without_executing_twice() {
    let lose = |cluster: &Cluster, on| cluster.service.set_loss(if on { 100 } else { 0 });
    run(async |cluster| each(&cluster, lose, Duration::ZERO).await);
}

#[test]
fn a_long_outage_is_reported_before_the_client_times_out() {
    run(async |cluster| {
        cluster.service.set_down(true);
        let started = Instant::now();
        let name = UnitName::parse("unit0.service").unwrap();
        let outcome = requests(&cluster).set_desired(&name, JobState::Loaded).await;
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        assert!(started.elapsed() < CLIENT_TIMEOUT, "{:?}", started.elapsed());
    });
}

/// Work on the node's own task would delay heartbeats and fence.
#[test]
fn rebalance_is_computed_beside_the_nodes_own_task() {
    let mut runtime = Builder::new_current_thread();
    // The only blocking thread is occupied, so that the computation cannot finish here.
    let runtime = runtime.enable_time().start_paused(true).max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let cluster = Cluster::running(3, UNITS).await;
        let requests = requests(&cluster);
        let (free, taken) = std::sync::mpsc::channel::<()>();
        let other = spawn_blocking(move || taken.recv());
        let mut rebalance = pin!(requests.rebalance());
        assert!(poll_fn(|context| Poll::Ready(rebalance.as_mut().poll(context).is_pending())).await);
        // The lock is not held meanwhile.
        requests.registry.with_view(|view| assert_eq!(view.unit_names().count(), UNITS));
        free.send(()).unwrap();
        other.await.unwrap().unwrap();
        rebalance.await.unwrap();
    });
}
