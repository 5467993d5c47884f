//! A fleetd that ends and is there again.

use std::time::Duration;

use cluster::JobState;
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

use crate::world::{TTL, World};

const UNITS: usize = 10;

/// Killed, and stopped in order as for a newer one: what it started runs on, and is not started again.
#[test]
fn units_run_on_while_their_fleetd_is_another_one() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::of(2, fastrand::Rng::with_seed(5), false);
        (0..2).for_each(|number| world.start(number));
        sleep(Duration::from_secs(5)).await;
        let requests = world.places[0].node.as_ref().unwrap().requests();
        let file = UnitFile::from_text("[Service]\nExecStart=/bin/sleep 9\n").unwrap();
        for number in 0..UNITS {
            let name = UnitName::parse(&format!("unit{number}.service")).unwrap();
            requests.create(&name, &file, JobState::Launched).await.unwrap();
        }
        sleep(Duration::from_secs(10)).await;
        let before = world.ledger.running();
        assert_eq!((before.len(), world.ledger.starts()), (UNITS, UNITS));
        for number in 0..2 {
            world.kill(number);
            sleep(Duration::from_secs(3)).await;
            assert_eq!(world.ledger.running(), before, "{number} was killed");
            world.start(number);
            sleep(TTL * 2).await;
            assert_eq!(world.ledger.running(), before, "{number} was killed and is back");
            world.places[number].node.take().unwrap().stop(false).await;
            assert_eq!(world.ledger.running(), before, "{number} was stopped");
            sleep(Duration::from_secs(3)).await;
            world.start(number);
            sleep(TTL * 2).await;
            assert_eq!(world.ledger.running(), before, "{number} was stopped and is back");
        }
        assert_eq!(world.ledger.starts(), UNITS);
        assert_eq!(world.faults(), Vec::<String>::new());
    });
}
