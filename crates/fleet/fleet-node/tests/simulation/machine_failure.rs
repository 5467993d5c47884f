//! Units of a machine that fails or is partitioned.

use std::time::Duration;

use fleet_core::{Cordon, JobState, MachineId};
use fleet_simulation::{Link as _, TTL, in_virtual_time};
use tokio::time::{Instant, sleep};
use unit_file::{UnitFile, UnitName};

use crate::Cluster;

const UNITS: usize = 40;
/// TTL of the engine's lease: five engine intervals.
const LEASE: Duration = Duration::from_secs(10);

/// Each unit is first unscheduled from the failed machine, then scheduled to another one.
#[test]
fn units_go_to_others_in_order() {
    in_virtual_time(async {
        let mut cluster = Cluster::unstarted(3, 11);
        (0..3).for_each(|number| cluster.start(number));
        sleep(TTL).await;
        let requests = cluster.hosts[0].node.as_ref().unwrap().requests();
        let file = UnitFile::from_text("[Service]\nExecStart=/bin/sleep 9\n").unwrap();
        for number in 0..UNITS {
            let name = UnitName::parse(&format!("unit{number}.service")).unwrap();
            requests.create(&name, &file, JobState::Launched).await.unwrap();
        }
        sleep(Duration::from_secs(10)).await;
        let on_it =
            |cluster: &Cluster| cluster.ledger.running().values().filter(|on| on.contains(&2)).count();
        assert!(on_it(&cluster) > UNITS / 4, "{} units on it", on_it(&cluster));
        cluster.crash(2).await;
        sleep(TTL * 3).await;
        assert_eq!((cluster.ledger.running().len(), on_it(&cluster)), (UNITS, 0));
        let mut refused = cluster.service.rejected();
        refused.retain(|write| write.contains("/target:"));
        assert_eq!(refused, Vec::<String>::new());
        assert_eq!(cluster.faults(), Vec::<String>::new());
    });
}

/// The leader observes late that a machine's presence has expired, when the machine has registered again and runs its
/// units.
#[test]
fn a_machine_that_is_back_is_not_considered_failed() {
    for second in 0..15 {
        in_virtual_time(async move {
            let cluster = Cluster::running(3, UNITS).await;
            let before = cluster.ledger.running();
            let leader = cluster.view().lease().unwrap().machine.clone();
            let (back, leader) =
                cluster.hosts.iter().enumerate().fold((0, 0), |(back, at), (number, host)| {
                    if host.id == leader.as_str() { (back, number) } else { (number, at) }
                });
            cluster.hosts[leader].link.set_watch_delay(Duration::from_secs(8));
            sleep(Duration::from_secs(second)).await;
            cluster.set_partitioned(back, true);
            while cluster.view().is_present(&MachineId::new(&cluster.hosts[back].id)) {
                sleep(Duration::from_millis(100)).await;
            }
            cluster.set_partitioned(back, false);
            sleep(TTL * 2).await;
            assert_eq!(cluster.faults(), Vec::<String>::new(), "cut off after {second} s");
            assert_eq!(cluster.ledger.running(), before, "cut off after {second} s");
            // Stopped during the partition, and started once afterwards.
            let restarts = before.values().filter(|on| on.contains(&back)).count();
            let starts = cluster.ledger.starts() - UNITS;
            assert_eq!(starts, restarts, "stopped again, cut off after {second} s");
        });
    }
}

/// For each machine and several moments, also for the leader.
#[test]
fn units_run_elsewhere_within_the_ttl_and_a_second() {
    let mut worst = Duration::ZERO;
    for ttl in [Duration::from_secs(6), TTL] {
        for (dies, moment) in (0..3).flat_map(|dies| (0..8).map(move |moment| (dies, moment))) {
            let took = taken_over(ttl, dies, Duration::from_millis(moment * 1730));
            let promised = ttl.max(LEASE) + Duration::from_secs(1);
            assert!(took <= promised, "TTL {ttl:?}: machine {dies} at {moment}: {took:?}, not {promised:?}");
            worst = worst.max(took.saturating_sub(ttl.max(LEASE)));
        }
    }
    println!("{worst:?} after TTL or lease at worst");
}

/// From the failure until the last unit runs elsewhere.
fn taken_over(ttl: Duration, dies: usize, moment: Duration) -> Duration {
    in_virtual_time(async {
        let seed = moment.as_millis() as u64;
        let mut cluster = Cluster::unstarted(3, seed);
        cluster.ttl = ttl;
        (0..3).for_each(|number| cluster.start(number));
        sleep(ttl).await;
        let requests = cluster.hosts[0].node.as_ref().unwrap().requests();
        let file = UnitFile::from_text("[Service]\nExecStart=/bin/sleep 9\n").unwrap();
        for number in 0..6 {
            let name = UnitName::parse(&format!("unit{number}.service")).unwrap();
            requests.create(&name, &file, JobState::Launched).await.unwrap();
        }
        sleep(Duration::from_secs(10) + moment).await;
        assert_eq!(cluster.ledger.running().len(), 6);
        cluster.crash(dies).await;
        let died = Instant::now();
        assert!(cluster.ledger.running().len() < 6, "nothing was on it");
        while cluster.ledger.running().len() < 6 {
            assert!(died.elapsed() < ttl * 9, "{:?}", cluster.ledger.running());
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(cluster.faults(), Vec::<String>::new());
        died.elapsed()
    })
}

/// Published states outlive the presence, so that no other machine gets the units before they must have stopped.
#[test]
fn a_machine_that_is_cut_off_while_it_is_drained_holds_its_units() {
    for second in (0..TTL.as_secs()).step_by(3) {
        in_virtual_time(async {
            let cluster = Cluster::running(2, UNITS).await;
            sleep(Duration::from_secs(second)).await;
            cluster.hosts[0].link.set_cut(true);
            let requests = cluster.hosts[1].node.as_ref().unwrap().requests();
            let id = MachineId::new(&cluster.hosts[0].id);
            requests.set_cordon(&id, Cordon::Draining).await.unwrap();
            sleep(TTL * 3).await;
            assert_eq!(cluster.faults(), Vec::<String>::new(), "cut off after {second} s");
            let running = cluster.ledger.running();
            assert_eq!(running.len(), UNITS);
            assert!(running.values().all(|on| on.iter().eq([&1])), "{running:?}");
        });
    }
}
