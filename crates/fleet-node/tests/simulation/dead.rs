//! Units of a machine that dies.

use std::time::Duration;

use cluster::JobState;
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

use crate::world::{TTL, World};

const UNITS: usize = 40;

/// Each unit is taken off the dead machine, then given another one: never the second before the first.
#[test]
fn units_go_to_others_in_order() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::of(3, fastrand::Rng::with_seed(11), false);
        (0..3).for_each(|number| world.start(number));
        sleep(TTL).await;
        let requests = world.places[0].node.as_ref().unwrap().requests();
        let file = UnitFile::from_text("[Service]\nExecStart=/bin/sleep 9\n").unwrap();
        for number in 0..UNITS {
            let name = UnitName::parse(&format!("unit{number}.service")).unwrap();
            requests.create(&name, &file, JobState::Launched).await.unwrap();
        }
        sleep(Duration::from_secs(10)).await;
        let on_it = |world: &World| world.ledger.running().values().filter(|on| on.contains(&2)).count();
        assert!(on_it(&world) > UNITS / 4, "{} units on it", on_it(&world));
        world.kill(2);
        world.places[2].machine.crash();
        sleep(TTL * 3).await;
        assert_eq!((world.ledger.running().len(), on_it(&world)), (UNITS, 0));
        let mut refused = world.service.refused();
        refused.retain(|write| write.contains("/target:"));
        assert_eq!(refused, Vec::<String>::new());
        assert_eq!(world.faults(), Vec::<String>::new());
    });
}
