//! Whole clusters in one thread, from a seed: machines crash, are partitioned or lose their fleetd; the store is
//! unreachable, slow or loses responses; units are created, changed and destroyed. No unit may ever run twice, and
//! all desired units must run in the end. Time is tokio's virtual time. The wall clock jumps meanwhile.
//!
//! `KEELSON_SEEDS=1000` sets the number of seeds, `KEELSON_SEED=17` runs one seed with a log.

#![allow(clippy::unwrap_used)]

mod clients;
mod delayed_writes;
mod fencing;
mod flapping_units;
mod garbage;
mod machine_failure;
mod moves;
mod refusals;
mod restarts;
mod scale;
mod slow_store;
mod stalled_watches;
mod wall_clock;

use std::time::Duration;

use fleet_core::JobState;
use fleet_simulation::memory::MemoryStore;
use fleet_simulation::{Options, Service as _, in_virtual_time};
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

type Cluster = fleet_simulation::Cluster<MemoryStore>;

const DEFAULT: u64 = 100;
/// Faults injected into one history.
const FAULTS_PER_HISTORY: usize = 14;

fn run(seed: u64, verbose: bool) -> Vec<String> {
    in_virtual_time(async {
        wall_clock::jumps(seed);
        let options = Options { clock: wall_clock::of_machine, verbose, ..Options::DEFAULT };
        let mut cluster = Cluster::new(seed, options, MemoryStore::new).await;
        for _ in 0..FAULTS_PER_HISTORY {
            cluster.inject_random_fault().await;
        }
        cluster.check_convergence().await;
        cluster.faults()
    })
}

#[test]
fn no_unit_twice_and_none_lost() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("KEELSON_SEED") {
        assert_eq!(run(seed, true), Vec::<String>::new());
        return;
    }
    let bad: Vec<(u64, Vec<String>)> = (1..=number("KEELSON_SEEDS").unwrap_or(DEFAULT))
        .map(|seed| (seed, run(seed, false)))
        .filter(|(_, faults)| !faults.is_empty())
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Checks that jumps of the wall clock are detected if machines use it.
#[test]
fn machines_that_go_by_the_time_of_day_are_caught() {
    wall_clock::set_believed(true);
    assert!((1..=20).any(|seed| !run(seed, false).is_empty()));
    wall_clock::set_believed(false);
}

/// A machine with the id of another one must not act in its place, nor delete its keys.
#[test]
fn a_machine_with_a_duplicate_id_is_ignored() {
    in_virtual_time(async {
        let mut cluster = Cluster::unstarted(2, 1);
        // It was in the cluster before and has saved state.
        for number in [0, 1] {
            cluster.start(number);
        }
        sleep(Duration::from_secs(5)).await;
        cluster.hosts[1].node.take().unwrap().stop(true).await;
        cluster.hosts[1].id = cluster.hosts[0].id.clone();
        sleep(Duration::from_secs(5)).await;
        let (name, file) = (
            UnitName::parse("a.service").unwrap(),
            UnitFile::from_text("[Service]\nExecStart=/a\n").unwrap(),
        );
        let node = cluster.hosts[0].node.as_ref().unwrap();
        node.requests().create(&name, &file, JobState::Launched).await.unwrap();
        sleep(Duration::from_secs(30)).await;
        let before = cluster.ledger.running();
        assert_eq!(before.get(&name).map(|machines| machines.iter().copied().collect()), Some(vec![0]));

        cluster.start(1);
        sleep(Duration::from_secs(90)).await;
        let double = cluster.hosts[1].node.take().unwrap();
        assert!(!double.store_link().state().is_serving());
        assert_eq!(cluster.ledger.running(), before);
        double.stop(true).await;
        let object = format!("machines/{}/object", cluster.hosts[0].id);
        assert!(
            cluster.service.all_keys().iter().any(|(path, _)| *path == object),
            "{:?}",
            cluster.service.all_keys()
        );
        sleep(Duration::from_secs(60)).await;
        assert_eq!(cluster.ledger.running(), before);
        assert_eq!(cluster.ledger.starts(), 1);
        assert_eq!(cluster.ledger.faults(), Vec::<String>::new());
    });
}
