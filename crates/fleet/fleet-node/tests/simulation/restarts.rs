//! Restarts of fleetd.

use std::time::Duration;

use fleet_core::MachineId;
use fleet_core::registry::Key;
use fleet_node::{Precondition, Store as _};
use fleet_simulation::memory::MemoryLink;
use fleet_simulation::{Service as _, TTL, in_virtual_time};
use tokio::time::{Instant, sleep};
use unit_file::UnitName;

use crate::Cluster;

const UNITS: usize = 10;

/// Both after SIGKILL and after a graceful stop, units keep running and are not started again.
#[test]
fn units_run_on_while_their_fleetd_is_another_one() {
    in_virtual_time(async {
        let mut cluster = Cluster::running(2, UNITS).await;
        let before = cluster.ledger.running();
        for number in 0..2 {
            cluster.kill(number);
            sleep(Duration::from_secs(3)).await;
            assert_eq!(cluster.ledger.running(), before, "{number} was killed");
            cluster.restart(number).await;
            sleep(TTL * 2).await;
            assert_eq!(cluster.ledger.running(), before, "{number} was killed and is back");
            cluster.hosts[number].node.take().unwrap().stop(false).await;
            assert_eq!(cluster.ledger.running(), before, "{number} was stopped");
            sleep(Duration::from_secs(3)).await;
            cluster.start(number);
            sleep(TTL * 2).await;
            assert_eq!(cluster.ledger.running(), before, "{number} was stopped and is back");
        }
        assert_eq!(cluster.ledger.starts(), UNITS);
        assert_eq!(cluster.faults(), Vec::<String>::new());
    });
}

/// A fleetd that starts without the store has the cluster's fence key and the peers' reports from its predecessor.
#[test]
fn units_run_on_where_fleetds_restart_while_the_store_is_away() {
    in_virtual_time(async {
        let mut cluster = Cluster::running(3, UNITS).await;
        let before = cluster.ledger.running();
        cluster.service.set_down(true);
        for late in 0..20 {
            sleep(TTL / 3).await;
            cluster.kill(late % 3);
            sleep(Duration::from_secs(1)).await;
            cluster.restart(late % 3).await;
            assert_eq!(cluster.ledger.running(), before, "without the store, {late} restarts");
        }
        sleep(TTL * 3).await;
        assert_eq!(cluster.ledger.running(), before, "without the store");
        cluster.service.set_down(false);
        sleep(TTL * 2).await;
        assert_eq!(cluster.ledger.running(), before, "with the store again");
        assert_eq!(cluster.ledger.starts(), UNITS);
        assert_eq!(cluster.faults(), Vec::<String>::new());
    });
}

/// Published keys expire anyway: the machine waits for the store once, not per unit.
#[test]
fn a_machine_that_leaves_while_the_store_is_away_waits_for_it_once() {
    const MANY: usize = 40;
    in_virtual_time(async {
        let mut cluster = Cluster::running(1, MANY).await;
        // Inactive units stop immediately.
        for number in 0..MANY {
            let name = UnitName::parse(&format!("unit{number}.service")).unwrap();
            cluster.hosts[0].systemd.set_active_state(&name, "inactive");
        }
        let node = cluster.hosts[0].node.take().unwrap();
        cluster.service.set_down(true);
        let started = Instant::now();
        node.stop(true).await;
        let took = started.elapsed();
        assert!(took < TTL * 3 / 4, "it waited for {took:?}");
    });
}

/// A fleetd that cannot start, for example with an invalid configuration: other machines take over its units.
#[test]
fn units_of_a_machine_without_fleetd_run_nowhere_else_before_they_are_stopped() {
    in_virtual_time(async {
        let mut cluster = Cluster::running(2, UNITS).await;
        let on_first =
            |cluster: &Cluster| cluster.ledger.running().values().filter(|on| on.contains(&0)).count();
        assert_ne!(on_first(&cluster), 0);
        cluster.kill(0);
        sleep(TTL * 3).await;
        assert_eq!((on_first(&cluster), cluster.ledger.running().len()), (0, UNITS));
        assert_eq!(cluster.faults(), Vec::<String>::new());
        cluster.restart(0).await;
        sleep(TTL).await;
        assert_eq!((cluster.ledger.running().len(), cluster.faults()), (UNITS, Vec::new()));
    });
}

/// After a partly executed heartbeat the instance key expires.
#[test]
fn a_presence_does_not_end_with_the_key_of_its_instance() {
    in_virtual_time(async {
        let cluster = Cluster::running(2, UNITS).await;
        let before = cluster.ledger.running();
        let store = MemoryLink::to(&cluster.service);
        let me = MachineId::new(&cluster.hosts[0].id);
        let (object, instance) = (Key::MachineObject(me.clone()), Key::MachineInstance(me));
        let written = store.get(&instance).await.unwrap().unwrap();
        store.delete(&instance, Precondition::Always).await.unwrap();
        for beat in 0..4 {
            sleep(TTL / 2).await;
            assert!(store.get(&object).await.unwrap().is_some(), "the presence has ended, beat {beat}");
        }
        assert_eq!(store.get(&instance).await.unwrap().unwrap().value, written.value);
        assert_eq!((cluster.ledger.running(), cluster.ledger.starts()), (before, UNITS));
        assert_eq!(cluster.faults(), Vec::<String>::new());
    });
}
