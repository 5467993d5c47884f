//! Deletion of unused keys.

use std::time::Duration;

use fleet_core::JobState;
use fleet_core::registry::Key;
use fleet_node::{Precondition, Store as _};
use fleet_simulation::RequestKind::Other;
use fleet_simulation::{Link as _, Service as _, TTL, in_virtual_time};
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

use crate::Cluster;

const HOUR: Duration = Duration::from_secs(3600);

/// Another machine submits the unit file again and finds it present, which the leader has not observed yet.
#[test]
fn a_text_that_comes_into_use_while_it_is_deleted_stays() {
    in_virtual_time(async {
        let mut cluster = Cluster::unstarted(2, 1);
        cluster.start(0);
        sleep(Duration::from_secs(5)).await;
        cluster.start(1);
        sleep(Duration::from_secs(5)).await;
        let (name, file) = (
            UnitName::parse("a.service").unwrap(),
            UnitFile::from_text("[Service]\nExecStart=/a\n").unwrap(),
        );
        let requests = cluster.hosts[1].node.as_ref().unwrap().requests();
        requests.create(&name, &file, JobState::Inactive).await.unwrap();
        requests.destroy(&name).await.unwrap();
        sleep(HOUR * 24).await;
        let others = |cluster: &Cluster| cluster.service.requests().get(&Other).copied().unwrap_or_default();
        let before = others(&cluster);
        cluster.hosts[0].link.set_slow(Some(300..400));
        // The leader's read and delete take longer than the writes below.
        while others(&cluster) == before {
            assert!(cluster.view().unreferenced_files().count() == 1);
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(450)).await;
        requests.create(&name, &file, JobState::Inactive).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        assert!(cluster.view().file(&name).is_some(), "its text is gone: {:?}", cluster.service.all_keys());
    });
}

/// As in a cluster whose machines update and restart every night.
#[test]
fn texts_are_deleted_where_no_leader_leads_for_a_day() {
    in_virtual_time(async {
        let mut cluster = Cluster::unstarted(2, 1);
        (0..2).for_each(|number| cluster.start(number));
        sleep(Duration::from_secs(20)).await;
        let (name, file) = (
            UnitName::parse("a.service").unwrap(),
            UnitFile::from_text("[Service]\nExecStart=/a\n").unwrap(),
        );
        let requests = cluster.hosts[0].node.as_ref().unwrap().requests();
        requests.create(&name, &file, JobState::Inactive).await.unwrap();
        requests.destroy(&name).await.unwrap();
        let leader = |cluster: &Cluster| cluster.view().lease().map(|lease| lease.machine.clone()).unwrap();
        for _ in 0..3 {
            sleep(HOUR * 10).await;
            let before = leader(&cluster);
            let leads = cluster.hosts.iter().position(|host| host.id == before.as_str()).unwrap();
            cluster.set_partitioned(leads, true);
            sleep(TTL * 2).await;
            assert_ne!(leader(&cluster), before);
            cluster.set_partitioned(leads, false);
        }
        assert_eq!(cluster.view().unreferenced_files().count(), 0);
    });
}

/// A delayed write of the engine would bind the next unit of that name to a machine.
#[test]
fn what_is_left_of_a_destroyed_unit_is_deleted() {
    in_virtual_time(async {
        let cluster = Cluster::running(1, 1).await;
        let requests = cluster.hosts[0].node.as_ref().unwrap().requests();
        let name = UnitName::parse("gone.service").unwrap();
        for (key, value) in [(Key::Target(name.clone()), "m1"), (Key::Pin(name.clone()), "m1")] {
            requests.store.put(&key, value, None, Precondition::Always).await.unwrap();
        }
        sleep(Duration::from_secs(30)).await;
        assert_eq!(cluster.view().orphaned_units().count(), 1);
        sleep(Duration::from_secs(180)).await;
        let left: Vec<_> = cluster
            .service
            .all_keys()
            .into_iter()
            .filter(|(path, _)| path.contains("gone.service"))
            .collect();
        assert_eq!(left, []);
        // Keys of existing units remain.
        assert_eq!(cluster.view().units().filter(|unit| unit.target.is_some()).count(), 1);
    });
}
