//! Regression tests for failures that seeds have found.

use std::time::Duration;

use etcd_simulation::seed_this_thread;
use fleet_simulation::{Cluster, Options, in_virtual_time};
use tokio::time::sleep;

use crate::members::MEMBERS;
use crate::store::EtcdCluster;

const TTL: Duration = Duration::from_secs(10);
const MACHINES: usize = 3;
const UNITS: usize = 6;

async fn running() -> Cluster<EtcdCluster> {
    let mut random = fastrand::Rng::with_seed(1);
    let service = EtcdCluster::new(random.fork());
    // Until a leader is elected.
    sleep(Duration::from_secs(10)).await;
    let options = Options { ttl: TTL, ..Options::DEFAULT };
    Cluster::with_service(MACHINES, service, random, options).with_units(UNITS).await
}

fn run(test: impl AsyncFnOnce(Cluster<EtcdCluster>)) {
    seed_this_thread(1);
    in_virtual_time(async { test(running().await).await });
}

/// The leader follows a partitioned member and observes late that a machine's presence has expired, when the machine
/// has already registered again and runs its units.
#[test]
fn a_machine_that_is_back_is_not_taken_for_dead() {
    for (member, machine) in
        (0..MEMBERS).flat_map(|member| (0..MACHINES).map(move |machine| (member, machine)))
    {
        run(async |cluster| {
            cluster.service.members.cut_off(member);
            sleep(Duration::from_secs(1)).await;
            cluster.set_partitioned(machine, true);
            sleep(TTL + Duration::from_secs(1)).await;
            cluster.set_partitioned(machine, false);
            sleep(Duration::from_millis(1_500)).await;
            cluster.service.members.heal();
            sleep(TTL * 3).await;
            assert_eq!(cluster.faults(), Vec::<String>::new(), "member {member}, machine {machine}");
            assert_eq!(cluster.ledger.count(), UNITS);
        });
    }
}
