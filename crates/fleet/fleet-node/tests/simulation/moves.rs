//! Units whose assignment changes while a machine claims them.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_core::JobState;
use fleet_core::registry::Key;
use fleet_node::{Precondition, Store as _};
use fleet_simulation::memory::MemoryLink;
use fleet_simulation::{Link as _, TTL, in_virtual_time};
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

use crate::Cluster;

#[test]
fn a_unit_that_is_assigned_elsewhere_while_it_is_claimed_does_not_start() {
    // The claim takes 800 ms.
    for millis in (0..800).step_by(50) {
        in_virtual_time(async move {
            let mut cluster = Cluster::unstarted(2, 1);
            cluster.disable_engine = true;
            (0..2).for_each(|number| cluster.start(number));
            sleep(Duration::from_secs(5)).await;
            let name = UnitName::parse("a.service").unwrap();
            let file = UnitFile::from_text("[Service]\nExecStart=/a\n").unwrap();
            let requests = cluster.hosts[1].node.as_ref().unwrap().requests();
            requests.create(&name, &file, JobState::Launched).await.unwrap();
            cluster.hosts[0].link.set_slow(Some(400..401));
            let (engine, target) = (MemoryLink::to(&cluster.service), Key::Target(name.clone()));
            engine.put(&target, &cluster.hosts[0].id, None, Precondition::Absent).await.unwrap();
            sleep(Duration::from_millis(millis)).await;
            engine.put(&target, &cluster.hosts[1].id, None, Precondition::Present).await.unwrap();
            sleep(TTL).await;
            assert_eq!(cluster.faults(), Vec::<String>::new(), "assigned elsewhere after {millis} ms");
            assert_eq!(cluster.ledger.running()[&name], BTreeSet::from([1]));
        });
    }
}
