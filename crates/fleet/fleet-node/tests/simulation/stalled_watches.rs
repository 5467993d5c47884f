//! Watches that receive nothing although their connections are open.

use std::time::Duration;

use fleet_core::JobState;
use fleet_simulation::{Link as _, in_virtual_time};
use tokio::time::{Instant, sleep};
use unit_file::{UnitFile, UnitName};

use crate::Cluster;

async fn launch(cluster: &Cluster, name: &UnitName, options_text: &str) {
    let file = UnitFile::from_text(&format!("[Service]\nExecStart=/a\n{options_text}")).unwrap();
    let node = cluster.hosts[0].node.as_ref().unwrap();
    node.requests().create(name, &file, JobState::Launched).await.unwrap();
}

/// After a partition, changes are visible immediately, even if the old watch is stuck.
#[test]
fn stalled_watches_are_replaced_after_a_partition() {
    in_virtual_time(async {
        let mut cluster = Cluster::unstarted(1, 1);
        cluster.hosts[0].link.stall_watches_on_cut = true;
        cluster.start(0);
        sleep(Duration::from_secs(5)).await;
        let cut = cluster.hosts[0].link.clone();
        cut.set_cut(true);
        sleep(Duration::from_secs(30)).await;
        let node = cluster.hosts[0].node.as_ref().unwrap();
        assert!(!node.store_link().state().is_serving());
        cut.set_cut(false);
        let open = Instant::now();
        while !node.store_link().state().is_serving() {
            sleep(Duration::from_millis(10)).await;
        }
        // Long before the regular full read.
        assert!(open.elapsed() < Duration::from_secs(5), "{:?}", open.elapsed());
        let submitted = Instant::now();
        let name = UnitName::parse("a.service").unwrap();
        launch(&cluster, &name, "").await;
        assert!(submitted.elapsed() < Duration::from_millis(500), "{:?}", submitted.elapsed());
        sleep(Duration::from_secs(2)).await;
        assert!(cluster.ledger.running().contains_key(&name));
    });
}

/// The member that serves a machine's watch hangs while another one serves its requests: the machine is present but
/// receives no events.
#[test]
fn a_watch_at_a_member_that_hangs_is_left() {
    in_virtual_time(async {
        let mut cluster = Cluster::unstarted(2, 1);
        (0..2).for_each(|number| cluster.start(number));
        sleep(Duration::from_secs(5)).await;
        cluster.hosts[1].link.stall_watches();
        let (name, started) = (UnitName::parse("a.service").unwrap(), Instant::now());
        launch(&cluster, &name, &format!("[X-Fleet]\nMachineID={}\n", cluster.hosts[1].id)).await;
        while !cluster.ledger.running().contains_key(&name) {
            assert!(started.elapsed() < Duration::from_secs(20), "not heard of for {:?}", started.elapsed());
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(cluster.faults(), Vec::<String>::new());
    });
}
