//! How much the store is asked as clusters grow.

use std::time::Duration;

use cluster::JobState;
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

use crate::world::World;

/// Requests to the store for each unit that is started, from the order to all of them active.
fn requests_for_each(machines: usize, units: usize) -> f64 {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::of(machines, fastrand::Rng::with_seed(7), false);
        for number in 0..machines {
            world.start(number);
        }
        sleep(Duration::from_secs(40)).await;
        let requests = world.places[0].node.as_ref().unwrap().requests();
        let file = UnitFile::from_text("[Service]\nExecStart=/bin/sleep 9\n").unwrap();
        for number in 0..units {
            let name = UnitName::parse(&format!("unit{number}.service")).unwrap();
            requests.create(&name, &file, JobState::Inactive).await.unwrap();
        }
        let before = world.service.requests();
        for number in 0..units {
            let name = UnitName::parse(&format!("unit{number}.service")).unwrap();
            requests.set_desired(&name, JobState::Launched).await.unwrap();
        }
        let mut waited = 0;
        while world.ledger.running().len() < units {
            sleep(Duration::from_millis(100)).await;
            waited += 1;
            assert!(waited < 600, "{} of {units} run", world.ledger.running().len());
        }
        sleep(Duration::from_millis(500)).await;
        assert_eq!(world.faults(), Vec::<String>::new());
        (world.service.requests() - before) as f64 / units as f64
    })
}

/// One asks for it, one gives it a machine, one claims it; two tell that it starts and is active, of which most units
/// need the second alone. Beats and the lease come beside them.
#[test]
fn a_start_costs_the_same_on_few_machines_and_on_many() {
    let (few, many) = (requests_for_each(3, 60), requests_for_each(30, 600));
    eprintln!("{few:.2} requests a unit on 3 machines, {many:.2} on 30");
    assert!(few < 5.2 && many < 5.2, "{few} {many}");
}
