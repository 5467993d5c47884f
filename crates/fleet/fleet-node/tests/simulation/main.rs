//! Whole clusters in one thread, from a seed: machines crash, are cut off, lose their fleetd; the store goes away,
//! is slow and loses answers; units come, change and go. No unit may ever run twice, and in the end all that is asked for
//! runs. Time does not pass: it is tokio's own, which jumps to the next thing that waits. The time of day is set to
//! and fro meanwhile.
//!
//! `KEELSON_SEEDS=1000` runs so many instead of the usual few, `KEELSON_SEED=17` just that one, with its story.

#![allow(clippy::unwrap_used)]

mod clients;
mod dead;
mod deaf;
mod fenced;
mod garbage;
mod late;
mod refused;
mod restarts;
mod restless;
mod scale;
mod slow_store;
mod wall_clock;

use std::time::Duration;

use fleet_core::JobState;
use fleet_simulation::memory::MemoryStore;
use fleet_simulation::{Options, Service as _, in_virtual_time};
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

type World = fleet_simulation::World<MemoryStore>;

const USUAL: u64 = 100;
/// What goes wrong in one history.
const TROUBLES: usize = 14;

fn run(seed: u64, told: bool) -> Vec<String> {
    in_virtual_time(async {
        wall_clock::jumps(seed);
        let options = Options { clock: wall_clock::of_machine, told, ..Options::USUAL };
        let mut world = World::new(seed, options, MemoryStore::new).await;
        for _ in 0..TROUBLES {
            world.trouble().await;
        }
        world.end_well().await;
        world.faults()
    })
}

#[test]
fn no_unit_twice_and_none_lost() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("KEELSON_SEED") {
        assert_eq!(run(seed, true), Vec::<String>::new());
        return;
    }
    let bad: Vec<(u64, Vec<String>)> = (1..=number("KEELSON_SEEDS").unwrap_or(USUAL))
        .map(|seed| (seed, run(seed, false)))
        .filter(|(_, faults)| !faults.is_empty())
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// That the time of day jumps is seen where a machine goes by it.
#[test]
fn machines_that_go_by_the_time_of_day_are_caught() {
    wall_clock::set_believed(true);
    assert!((1..=20).any(|seed| !run(seed, false).is_empty()));
    wall_clock::set_believed(false);
}

/// A machine whose id another one has already: it does nothing in that one's place, and takes nothing of it along
/// when it goes.
#[test]
fn a_double_is_left_outside() {
    in_virtual_time(async {
        let mut world = World::bare(2, 1);
        // It was a machine of the cluster before, and remembers that.
        for number in [0, 1] {
            world.start(number);
        }
        sleep(Duration::from_secs(5)).await;
        world.places[1].node.take().unwrap().stop(true).await;
        world.places[1].id = world.places[0].id.clone();
        sleep(Duration::from_secs(5)).await;
        let (name, file) = (
            UnitName::parse("a.service").unwrap(),
            UnitFile::from_text("[Service]\nExecStart=/a\n").unwrap(),
        );
        let node = world.places[0].node.as_ref().unwrap();
        node.requests().create(&name, &file, JobState::Launched).await.unwrap();
        sleep(Duration::from_secs(30)).await;
        let before = world.ledger.running();
        assert_eq!(before.get(&name).map(|machines| machines.iter().copied().collect()), Some(vec![0]));

        world.start(1);
        sleep(Duration::from_secs(90)).await;
        let double = world.places[1].node.take().unwrap();
        assert!(!double.contact().standing().is_serving());
        assert_eq!(world.ledger.running(), before);
        double.stop(true).await;
        let object = format!("machines/{}/object", world.places[0].id);
        assert!(world.service.shown().iter().any(|(path, _)| *path == object), "{:?}", world.service.shown());
        sleep(Duration::from_secs(60)).await;
        assert_eq!(world.ledger.running(), before);
        assert_eq!(world.ledger.starts(), 1);
        assert_eq!(world.ledger.faults(), Vec::<String>::new());
    });
}
