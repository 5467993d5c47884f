//! A store that answers one machine, and takes its time.

use std::ops::Range;

use tokio::time::sleep;

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
        let world = World::at_rest(3, UNITS).await;
        let before = world.ledger.running();
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
