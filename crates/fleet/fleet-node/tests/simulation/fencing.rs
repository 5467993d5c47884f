//! A partitioned machine stops all units that may be taken over, no matter who started them.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_core::JobState;
use fleet_simulation::{TTL, in_virtual_time};
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

use crate::Cluster;

/// Other machines have launched its units since. The partition ends at any moment of an attempt to republish.
#[test]
fn a_machine_that_comes_back_claims_nothing_of_what_was_taken_over() {
    for tenths in (0..40).step_by(3) {
        in_virtual_time(async move {
            let cluster = Cluster::running(3, 12).await;
            cluster.set_partitioned(0, true);
            sleep(TTL * 3 + Duration::from_millis(tenths * 100)).await;
            assert_eq!(cluster.faults(), Vec::<String>::new());
            cluster.set_partitioned(0, false);
            for _ in 0..600 {
                sleep(Duration::from_millis(100)).await;
                let view = cluster.view();
                let launched = |name: &UnitName| view.current_state(name) == Some(JobState::Launched);
                let others: Vec<_> = view.unit_names().filter(|name| !launched(name)).collect();
                assert!(others.is_empty(), "not launched: {others:?}");
            }
        });
    }
}

/// fleetd only loads the service; a timer of the cluster starts it. Both move to another machine.
#[test]
fn what_a_timer_has_started_is_stopped() {
    in_virtual_time(async {
        let mut cluster = Cluster::unstarted(2, 3);
        (0..2).for_each(|number| cluster.start(number));
        sleep(Duration::from_secs(5)).await;
        let requests = cluster.hosts[0].node.as_ref().unwrap().requests();
        let [timer, service] = ["tick.timer", "tick.service"].map(|name| UnitName::parse(name).unwrap());
        let text = |text: &str| UnitFile::from_text(text).unwrap();
        requests.create(&timer, &text("[Timer]\nOnActiveSec=1\n"), JobState::Launched).await.unwrap();
        let beside = text("[Service]\nExecStart=/a\n[X-Fleet]\nMachineOf=tick.timer\n");
        requests.create(&service, &beside, JobState::Loaded).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        let on = |cluster: &Cluster| cluster.ledger.running().remove(&service).unwrap_or_default();
        let before = on(&cluster);
        assert_eq!(before.len(), 1);
        let cut = before.first().copied().unwrap();
        cluster.set_partitioned(cut, true);
        sleep(TTL * 3).await;
        assert_eq!(cluster.faults(), Vec::<String>::new());
        assert_eq!(on(&cluster), BTreeSet::from([1 - cut]));
        cluster.set_partitioned(cut, false);
        sleep(TTL).await;
        assert_eq!(on(&cluster), BTreeSet::from([1 - cut]));
        assert_eq!(cluster.faults(), Vec::<String>::new());
    });
}
