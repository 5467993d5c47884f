//! A store that answers one machine, and takes its time.

use std::ops::Range;
use std::time::Duration;

use cluster::JobState;
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

use crate::world::{TTL, World};

const UNITS: usize = 10;
/// Milliseconds each way: more than a request usually waits for, and less than one that keeps a machine's place does.
const SLOW: Range<u64> = 500..1_000;

/// The others find it present all the time, and know the store: it would have to stop its units if it took itself for
/// cut off.
#[test]
fn units_run_on_where_the_store_is_slow() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::of(3, fastrand::Rng::with_seed(5), false);
        (0..3).for_each(|number| world.start(number));
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

        world.places[0].link.set_slow(Some(SLOW));
        for _ in 0..10 {
            sleep(TTL).await;
            assert_eq!(world.ledger.running(), before);
        }
        world.places[0].link.set_slow(None);
        sleep(TTL).await;
        assert_eq!(world.ledger.running(), before);
        assert_eq!(world.ledger.starts(), UNITS);
        assert_eq!(world.faults(), Vec::<String>::new());
    });
}
